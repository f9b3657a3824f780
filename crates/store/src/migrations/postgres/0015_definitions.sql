-- What an attribute, a table or a field is known by in the text form of a workspace. Null where it
-- follows from the workspace and the number.
alter table {s}attributes add column id uuid;
alter table {s}user_tables add column id uuid;
alter table {s}user_fields add column id uuid;
