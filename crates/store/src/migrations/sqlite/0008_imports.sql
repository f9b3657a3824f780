-- A trial of a draft: what its rows would do. trial is JSON, trial_run tells one trial from the next.
alter table imports add column trial text;
alter table imports add column trial_run text;
