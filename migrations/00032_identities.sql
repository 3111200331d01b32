-- +goose Up
-- Who a login provider (OpenID Connect) says that a user is. Users who log in by it alone have a password's hash that no password
-- matches (models/user_password.go).
create table identities (
  issuer      text not null,
  subject     text not null,                       -- the provider's name for somebody, which never changes
  user_id     uuid not null references users (id) on delete cascade,
  email       text not null,                       -- verified, when the two were connected; empty for none
  mapped_role text check (mapped_role in ('owner', 'admin', 'developer', 'viewer')), -- that groups gave last; null for none
  created_at  timestamptz not null default now(),
  last_login_at timestamptz not null default now(),
  primary key (issuer, subject),
  unique (user_id, issuer)
);

-- When the user wrote the address of theirs themselves, which proves nothing about it; null for one that an invitation, the set-up
-- or the command line gave.
alter table users add column email_changed_at timestamptz;

-- +goose Down
alter table users drop column email_changed_at;
drop table identities;
