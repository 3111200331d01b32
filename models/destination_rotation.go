package models

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// The credentials that a rotation leaves behind, of types that rotate (adapters.RotateField).
const (
	previousSecret = "previous_secret"
	previousEnds   = "previous_secret_invalid_at"
)

// OverlapEnds is until when the previous secret is valid beside the one in force; the zero time when there is none.
func (d *Destination) OverlapEnds(now time.Time) time.Time {
	at, err := time.Parse(time.RFC3339, d.Credentials[previousEnds])
	if d.Credentials[previousSecret] == "" || err != nil || !at.After(now) {
		return time.Time{}
	}
	return at
}

// Rotation says how a secret is replaced.
type Rotation struct {
	Overlap time.Duration // how long the secret in force stays valid beside the new one
	Force   bool          // also when that ends a previous secret that is still valid
}

// RotateSecret gives the destination a new secret; the one in force stays valid beside it for the overlap. Types whose
// secret the server makes have a field for it, which their validation acts upon. There is room for one previous secret: a
// second rotation within an overlap would end the first one's at once, and is refused unless it is forced.
func (s *Store) RotateSecret(ctx context.Context, scope Scope, tenantID, id string, r Rotation) (*Destination, error) {
	if r.Overlap < 0 || r.Overlap > 30*24*time.Hour {
		return nil, Invalid("overlap", "must be between 0s and 720h")
	}
	return s.change(ctx, scope, tenantID, id, 0, func(ctx context.Context, _ *Tx, d *Destination) error {
		if !d.Registration().Rotates() {
			return conflict("Destinations of type %s have no secret of ours to rotate. Change their credentials instead.", d.Type)
		}
		detail := map[string]any{"overlap": Duration(r.Overlap).String()}
		if err := d.secondRotation(); err != nil {
			if !r.Force {
				return err
			}
			detail["ended_previous"] = true
		}
		d.audit("destination.rotate_secret", detail)
		yes, until := "true", time.Now().Add(r.Overlap).UTC().Format(time.RFC3339)
		return s.merge(ctx, d, DestinationPatch{"credentials": Values{adapters.RotateField: &yes, previousEnds: &until}})
	})
}

// secondRotation says why a rotation now would end a previous secret that is still valid; nil when there is none.
func (d *Destination) secondRotation() error {
	ends := d.OverlapEnds(time.Now())
	if ends.IsZero() {
		return nil
	}
	return conflict("The previous secret is valid until %s. Another rotation would end it now, and receivers that know only that one would "+
		"refuse every event. Wait until then, or end it first if no receiver uses it any more; to do both at once, rotate with force "+
		"(POST …/secrets/rotate).", ends.UTC().Format(time.RFC3339))
}

// rotates reports whether a patch asks for a new secret and keeps the previous one.
func (p DestinationPatch) rotates() bool {
	var given Values
	p.read("credentials", &given, problems{}) // what is wrong with it is told when it is merged
	yes := given[adapters.RotateField]
	_, previous := given[previousSecret]
	return yes != nil && *yes == "true" && !previous
}

// EndOverlap ends the previous secret before its time: from now on only the one in force signs.
func (s *Store) EndOverlap(ctx context.Context, scope Scope, tenantID, id string) (*Destination, error) {
	return s.change(ctx, scope, tenantID, id, 0, func(ctx context.Context, _ *Tx, d *Destination) error {
		ends := d.OverlapEnds(time.Now())
		if ends.IsZero() {
			return conflict("There is no previous secret that is still valid.")
		}
		d.audit("destination.end_previous_secret", map[string]any{"valid_until": ends.UTC().Format(time.RFC3339)})
		return s.merge(ctx, d, DestinationPatch{"credentials": Values{previousSecret: nil, previousEnds: nil}})
	})
}
