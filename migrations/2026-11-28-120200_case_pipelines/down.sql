DROP TABLE case_stages, case_pipelines;
