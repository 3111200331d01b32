-- +goose Up
-- What kind of caller an actor was: models.Actor's kinds; empty for entries of before.
alter table audit add column actor_type text not null default '';

-- What was done to one thing. Entries are made by people and, seldom, by the server, so that there are few.
create index audit_object on audit (tenant_key, object, id);

-- What somebody had to say who took care of an alert.
alter table alerts add column acknowledgement text not null default '';

-- +goose Down
alter table alerts drop column acknowledgement;
drop index audit_object;
alter table audit drop column actor_type;
