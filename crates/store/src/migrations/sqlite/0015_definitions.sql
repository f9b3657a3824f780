-- What an attribute, a table or a field is known by in the text form of a workspace. Null where it
-- follows from the workspace and the number.
alter table attributes add column id blob;
alter table user_tables add column id blob;
alter table user_fields add column id blob;
