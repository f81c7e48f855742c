DROP FUNCTION solutions_suggest(text[], boolean, integer), solution_suggested(uuid, text, text);
DROP TABLE solution_texts, case_solutions, solutions;
