DROP TABLE sales_goals, stage_aging, opportunity_lines, opportunities;
