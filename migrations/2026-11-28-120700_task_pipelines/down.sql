DROP TABLE task_stages, task_pipelines;
