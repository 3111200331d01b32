package models

import "time"

// Since is since when there is something that is created: its operator may bring it from somewhere else.
type Since struct{ CreatedAt, UpdatedAt *time.Time }

// times are what is written; without either both are now.
func (s Since) times(now time.Time, bad problems) (created, updated time.Time) {
	created = now
	for field, at := range map[string]*time.Time{"created_at": s.CreatedAt, "updated_at": s.UpdatedAt} {
		if at != nil && at.After(now) {
			bad.add(field, "must not be in the future")
		}
	}
	if s.CreatedAt != nil {
		created = *s.CreatedAt
	}
	if updated = created; s.UpdatedAt != nil {
		updated = *s.UpdatedAt
	}
	return created, updated
}

// Since is since when the destination is to be there.
func (in *DestinationInput) Since() Since { return Since{in.CreatedAt, in.UpdatedAt} }
