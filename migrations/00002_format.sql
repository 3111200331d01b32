-- +goose Up
-- How messages of a destination look: '' for the payload as it is, or a CloudEvents format.
alter table destinations add column format text not null default '';

-- +goose Down
alter table destinations drop column format;
