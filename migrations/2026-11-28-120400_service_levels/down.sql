DROP TABLE escalation_policies, reopen_policies, sla_targets;
