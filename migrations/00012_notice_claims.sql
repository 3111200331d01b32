-- +goose Up

-- The process that is sending a notice, while it is at it. It is known for sure, unlike who has the job: a crash of
-- PostgreSQL can undo that a job was taken, and somebody else would send the notice again meanwhile.
alter table notifications add column claimed_by text not null default '';

-- +goose Down
alter table notifications drop column claimed_by;
