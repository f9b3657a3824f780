-- A trial of a draft: what its rows would do. trial is JSON, trial_run tells one trial from the next.
alter table {s}imports add column trial text collate "C";
alter table {s}imports add column trial_run text collate "C";
