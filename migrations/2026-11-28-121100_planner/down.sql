DROP TABLE planner_entries;
