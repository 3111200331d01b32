-- +goose Up

-- A tenant's own limits and defaults, by the API's names; what is absent is the server's.
alter table tenants add column if not exists settings jsonb not null default '{}';

-- What payloads of a topic must look like (JSON Schema), and what happens to those that do not.
alter table topics add column schema json;
alter table topics add column enforce text not null default 'warn';

-- Events that did not match their topic's schema. Processes add to it now and then, so that publishers do not wait for
-- each other's counts.
create table topic_mismatches (
  topic    text primary key,
  warned   bigint not null default 0,
  refused  bigint not null default 0,
  last_at  timestamptz not null,
  last_why text not null                           -- where in the payload, and which rule; for operators
);

-- Portal links that may be opened more than once, until they expire or are revoked.
alter table portal_links add column single_use boolean not null default true;
alter table portal_links add column created_by text not null default '';

-- +goose Down
alter table portal_links drop column created_by;
alter table portal_links drop column single_use;
drop table topic_mismatches;
alter table topics drop column enforce;
alter table topics drop column schema;
alter table tenants drop column settings;
