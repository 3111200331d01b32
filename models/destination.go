package models

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// Destination is where events of a tenant go. A field that somebody sets is one of DestinationFields.
type Destination struct {
	Key       int64 `gorm:"primaryKey"` // never leaves the server but inside ids of deliveries
	TenantKey int64
	ID        string
	Type      string // a registered adapters.Type
	DestinationFields
	FilterKey    *int64            // the row of destination_filters in force
	TransformKey *int64            // the row of destination_transforms in force
	OpenConfig   map[string]string `gorm:"column:config;serializer:json"` // what is stored in clear text of Config
	SealedCreds  []byte            `gorm:"column:credentials"`
	// Signature is where Beside is stored; see besideColumn.
	Signature      string
	DisabledAt     *time.Time
	DisabledReason string
	DisabledBy     string
	ClaimFirst     bool  `gorm:"column:careful"` // workers look at the row before they send, for its job may be an old one
	EverOrdered    bool  // it was Ordered once; what was accepted then still goes out in order
	Version        int64 `gorm:"default:1"` // rises with every change
	CreatedAt      time.Time
	UpdatedAt      time.Time
	DeletedAt      *time.Time

	TenantID string   `gorm:"-"` // the tenant's public id
	Health   *Health  `gorm:"-"` // how it does; of what Destination and Destinations return, never nil there
	Changes  []Change `gorm:"-"` // what the change that returned it has altered; nil otherwise

	disabledCause string      // why the server has just disabled it by itself; empty otherwise
	entry         *AuditEntry // what the audit log says of the change under way; nil for nothing
}

// TakesAll reports whether the destination subscribes to every topic.
func (d *Destination) TakesAll() bool { return slices.Contains(d.Topics, AllTopics) }

// Registration is the destination's type, or nil when this build lacks it.
func (d *Destination) Registration() *adapters.Registration { return adapters.Lookup(d.Type) }

// Settings is what the destination's type needs to send.
func (d *Destination) Settings() adapters.Settings {
	return adapters.Settings{ID: d.ID, TenantID: d.TenantID, Version: d.Version, Config: d.Config, Credentials: d.Credentials,
		Beside: d.Beside, Timeout: d.timeout(15 * time.Second), Format: d.Format}
}

func (d *Destination) timeout(dflt time.Duration) time.Duration {
	if d.Timeout != nil {
		return time.Duration(*d.Timeout)
	}
	return dflt
}

// Target says in one line where events go, and the address of a page about it where there is one.
func (d *Destination) Target() (label, url string) {
	if r := d.Registration(); r != nil {
		label, url = r.Target(d.Settings())
		return label, outbound.MaskURL(url)
	}
	return d.Type, ""
}

// Title is what people see as the destination's name.
func (d *Destination) Title() string {
	if d.Name != "" {
		return d.Name
	}
	label, _ := d.Target()
	return label
}

// State is "active" or "disabled".
func (d *Destination) State() string {
	if d.DisabledAt != nil {
		return "disabled"
	}
	return "active"
}

// DisableLimit is after how many failing deliveries in a row the destination is disabled; 0 for never.
func (d *Destination) DisableLimit(dflt int) int {
	if d.DisableAfter != nil {
		return *d.DisableAfter
	}
	return dflt
}

// CreateDestination creates a destination of a tenant.
func (s *Store) CreateDestination(ctx context.Context, scope Scope, tenantID string, in DestinationInput) (*Destination, error) {
	t, err := s.Tenant(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	bad := problems{}
	d := &Destination{TenantKey: t.Key, TenantID: t.ID, ID: randomID(destinationPrefix), Version: 1}
	d.Beside, d.DeliveryMetadata, d.Metadata = BesideSettings{}, Metadata{}, Metadata{}
	if in.Patch.read("id", &d.ID, bad) {
		checkID("id", d.ID, bad)
	}
	in.Patch.read("type", &d.Type, bad)
	if d.Type == "" {
		bad.add("type", "is required: one of "+typeNames())
	} else if d.Registration() == nil {
		bad.add("type", fmt.Sprintf("%q is not a destination type: use one of %s", cut(d.Type, 40), typeNames()))
	}
	d.CreatedAt, d.UpdatedAt = in.Patch.Since().times(time.Now(), bad)
	if _, given := in.Patch["topics"]; !given {
		bad.add("topics", `is required: "*" for all, or an array of topics`)
	}
	if len(bad) > 0 && bad["type"] != "" {
		return nil, bad.err()
	}
	if err := s.merge(ctx, d, s.withDefaults(t, d, in.Patch)); err != nil {
		var e *Error
		if !errors.As(err, &e) || e.Fields == nil {
			return nil, err
		}
		for k, m := range bad {
			e.Fields[k] = m
		}
		return nil, e
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	if in.Disabled {
		d.disable(time.Now(), "", "Saved without being switched on.")
	}
	if at, _, err := in.Patch.disabledAt(); err != nil {
		return nil, err
	} else if !at.IsZero() {
		d.disable(at, in.Actor, "")
	}
	if err := s.seal(d); err != nil {
		return nil, err
	}
	var nothing *snapshot
	d.Changes = nothing.changes(d.snapshot())
	err = s.changeDestinations(ctx, t, func(ctx context.Context, tx *Tx) error {
		if err := s.checkDestinationLimit(ctx, tx, t); err != nil {
			return err
		}
		filter := d.Filter
		if err := tx.DB.Create(d).Error; err != nil {
			return err
		}
		d.Filter = filter
		d.Health = &Health{Destination: d.Key, TenantKey: d.TenantKey}
		if err := saveTransform(ctx, tx, d); err != nil {
			return err
		}
		if err := s.noteDestination(ctx, tx, nil, d); err != nil {
			return err
		}
		if err := saveFilter(ctx, tx, d); err != nil {
			return err
		}
		d.audit("destination.create", nil)
		return tx.auditDestination(ctx, d)
	})
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		return nil, &Error{Kind: KindMalformed,
			Message: fmt.Sprintf("There is already a destination %q. Choose another id, or leave it out to get one.", d.ID),
			Fields:  map[string]string{"id": "is already taken"}}
	}
	return d, err
}

// saveFilter keeps every filter that was ever in force, so that an event's page can say why it was filtered out.
func saveFilter(ctx context.Context, tx *Tx, d *Destination) error {
	if len(d.Filter) == 0 {
		d.FilterKey = nil
	} else {
		var key int64
		err := tx.Pgx.QueryRow(ctx, `insert into destination_filters (destination_key, filter) values ($1, $2) returning key`,
			d.Key, string(d.Filter)).Scan(&key)
		if err != nil {
			return err
		}
		d.FilterKey = &key
	}
	_, err := tx.Pgx.Exec(ctx, "update destinations set filter_key = $2 where key = $1", d.Key, d.FilterKey)
	return err
}

// Destination returns one destination of a tenant.
func (s *Store) Destination(ctx context.Context, scope Scope, tenantID, id string) (*Destination, error) {
	t, err := s.Tenant(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	d, err := s.destination(s.DB.WithContext(ctx), t, id)
	if err != nil {
		return nil, err
	}
	return d, s.addHealth(ctx, d)
}

// addHealth fills in how destinations do.
func (s *Store) addHealth(ctx context.Context, list ...*Destination) error {
	keys := make([]int64, len(list))
	for i, d := range list {
		keys[i] = d.Key
	}
	found, err := s.HealthOf(ctx, keys...)
	for _, d := range list {
		if d.Health = found[d.Key]; d.Health == nil {
			d.Health = &Health{Destination: d.Key, TenantKey: d.TenantKey}
		}
	}
	return err
}

func (s *Store) destination(db *gorm.DB, t *Tenant, id string) (*Destination, error) {
	var d Destination
	err := db.Where("tenant_key = ? and id = ? and deleted_at is null", t.Key, id).Take(&d).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, notFound("There is no destination %q.", cut(id, 80))
	}
	if err != nil {
		return nil, err
	}
	return &d, s.open(&d, t.ID)
}

// DestinationQuery selects destinations of a tenant.
type DestinationQuery struct {
	Text   string   `query:"q" label:"Search" doc:"Part of the name, the id or the target."`
	Types  []string `query:"type" label:"Type" words:"destination type" api:"schema=DestinationType" doc:"Only of these types."`
	Topics []string `query:"topics" label:"Topic" doc:"Only those that subscribe to one of these topics."`
	State  string   `query:"state" label:"State" words:"destination state" api:"schema=DestinationState" doc:"Only in this state."`
}

// Destinations lists a tenant's destinations, oldest first.
func (s *Store) Destinations(ctx context.Context, scope Scope, tenantID string, dq DestinationQuery) ([]*Destination, error) {
	t, err := s.Tenant(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	db := s.DB.WithContext(ctx).Where("tenant_key = ? and deleted_at is null", t.Key)
	if len(dq.Types) > 0 {
		db = db.Where("type in ?", dq.Types)
	}
	var all []*Destination
	if err := db.Order("key").Find(&all).Error; err != nil {
		return nil, err
	}
	out := make([]*Destination, 0, len(all))
	for _, d := range all {
		if err := s.open(d, t.ID); err != nil {
			return nil, err
		}
		if dq.matches(d) {
			out = append(out, d)
		}
	}
	return out, s.addHealth(ctx, out...)
}

func (dq DestinationQuery) matches(d *Destination) bool {
	if dq.State != "" && d.State() != dq.State {
		return false
	}
	if len(dq.Topics) > 0 && !slices.ContainsFunc(dq.Topics, func(t string) bool {
		return slices.Contains(d.Topics, t) ||
			Subscribes(d.Topics, t)
	}) {
		return false
	}
	if dq.Text == "" {
		return true
	}
	label, url := d.Target()
	return strings.Contains(strings.ToLower(strings.Join([]string{d.Name, d.ID, label, url}, "\n")), strings.ToLower(dq.Text))
}

// UpdateDestination changes a destination. version is the one the caller read, or 0 for any; when it has changed
// since, the error is KindStale and nothing happens.
func (s *Store) UpdateDestination(ctx context.Context, scope Scope, tenantID, id string, version int64,
	in DestinationInput) (*Destination, error) {
	return s.change(ctx, scope, tenantID, id, version, func(ctx context.Context, tx *Tx, d *Destination) error {
		d.audit("destination.update", nil)
		bad := problems{}
		typ, public := d.Type, d.ID
		if in.Patch.read("type", &typ, bad); typ != d.Type {
			bad.add("type", "cannot be changed: create another destination")
		}
		if in.Patch.read("id", &public, bad); public != d.ID {
			bad.add("id", "cannot be changed")
		}
		if err := bad.err(); err != nil {
			return err
		}
		if in.Patch.rotates() {
			if err := d.secondRotation(); err != nil {
				return err
			}
		}
		before, transform, blocking, config := string(d.Filter), d.Transform, d.OnExhausted == ExhaustedBlock, maps.Clone(d.Config)
		if err := s.merge(ctx, d, in.Patch); err != nil {
			return err
		}
		if d.Transform != transform {
			if err := saveTransform(ctx, tx, d); err != nil {
				return err
			}
		}
		if blocking && d.OnExhausted != ExhaustedBlock {
			if err := s.unblock(ctx, tx, d.Key); err != nil {
				return err
			}
		}
		if !maps.Equal(d.Config, config) {
			if err := forgetCertificate(ctx, tx.Pgx, d.Key); err != nil {
				return err
			}
		}
		if string(d.Filter) != before {
			if err := saveFilter(ctx, tx, d); err != nil {
				return err
			}
		}
		switch at, given, err := in.Patch.disabledAt(); {
		case err != nil:
			return err
		case given && at.IsZero() && d.DisabledAt != nil:
			t, err := s.tenantByKey(ctx, d.TenantKey)
			if err != nil {
				return err
			}
			return s.enable(ctx, tx, d, in.Actor, Backlog{Action: s.EnableAction(t)})
		case given && !at.IsZero() && d.DisabledAt == nil:
			d.disable(at, in.Actor, "")
		}
		return nil
	})
}

// recallAfterChange is how many jobs that were put off are done at once after a change of their destination.
const recallAfterChange = 5

// change loads a destination under lock, lets fn change it, and saves it with the next version.
func (s *Store) change(ctx context.Context, scope Scope, tenantID, id string, version int64,
	fn func(context.Context, *Tx, *Destination) error) (d *Destination, err error) {
	t, err := s.Tenant(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	err = s.changeDestinations(ctx, t, func(ctx context.Context, tx *Tx) error {
		d, err = s.destination(tx.DB, t, id)
		if err != nil {
			return err
		}
		if version != 0 && version != d.Version {
			return &Error{Kind: KindStale, Message: "The destination was changed since you read it. Read it again, then repeat the change."}
		}
		was, before := *d, d.snapshot()
		if err := fn(ctx, tx, d); err != nil {
			return err
		}
		d.Changes = before.changes(d.snapshot())
		if err := s.seal(d); err != nil {
			return err
		}
		d.Version++
		d.UpdatedAt = time.Now()
		if err := tx.DB.Save(d).Error; err != nil {
			return err
		}
		if err := s.noteDestination(ctx, tx, &was, d); err != nil {
			return err
		}
		return tx.auditDestination(ctx, d)
	})
	if err != nil {
		return d, err
	}
	// What was put off because of how the destination was finds out at once how it is now. Some are enough: when they
	// succeed the others follow, and without them all come back within a minute.
	_, _ = s.Queue.Recall(ctx, d.Key, recallAfterChange)
	return d, s.addHealth(ctx, d)
}

// DeleteDestination deletes a destination; version as in UpdateDestination. A job cancels its deliveries that wait, its
// history stays.
func (s *Store) DeleteDestination(ctx context.Context, scope Scope, tenantID, id string, version int64) (*Destination, error) {
	return s.change(ctx, scope, tenantID, id, version, func(ctx context.Context, tx *Tx, d *Destination) error {
		now := time.Now()
		d.DeletedAt = &now
		d.audit("destination.delete", map[string]any{"name": d.Title(), "type": d.Type})
		return s.releaseDeleted(ctx, tx, ReleaseDestinationDeleted, d.Key)
	})
}

// DisableDestination stops deliveries to a destination. Its events are held until it is enabled.
func (s *Store) DisableDestination(ctx context.Context, scope Scope, tenantID, id, actor, reason string) (*Destination, error) {
	bad := problems{}
	checkText("reason", reason, 500, bad)
	if err := bad.err(); err != nil {
		return nil, err
	}
	return s.change(ctx, scope, tenantID, id, 0, func(_ context.Context, _ *Tx, d *Destination) error {
		at := time.Now()
		if d.DisabledAt != nil {
			at = *d.DisabledAt
		}
		d.disable(at, actor, reason)
		d.audit("destination.disable", map[string]any{"reason": reason})
		return nil
	})
}

func (d *Destination) disable(at time.Time, actor, reason string) {
	d.DisabledAt, d.DisabledBy, d.DisabledReason = &at, actor, reason
}

// enable starts deliveries to d again within tx.
func (s *Store) enable(ctx context.Context, tx *Tx, d *Destination, actor string, backlog Backlog) error {
	d.DisabledAt, d.DisabledBy, d.DisabledReason = nil, "", ""
	if err := resetHealth(ctx, tx.Pgx, d.Key); err != nil {
		return err
	}
	return s.enqueueRelease(ctx, tx, backlog.release(d.Key, actor))
}

// EnableDestination starts deliveries again. backlog says what happens to the events held meanwhile.
func (s *Store) EnableDestination(ctx context.Context, scope Scope, tenantID, id, actor string, backlog Backlog) (*Destination, error) {
	if err := backlog.check("backlog"); err != nil {
		return nil, err
	}
	return s.change(ctx, scope, tenantID, id, 0, func(ctx context.Context, tx *Tx, d *Destination) error {
		d.audit("destination.enable", map[string]any{"backlog": backlog.Action})
		return s.enable(ctx, tx, d, actor, backlog)
	})
}

// DisableGone disables a destination whose receiver says that it is gone, unless it was changed since it said so.
func (s *Store) DisableGone(ctx context.Context, e *Target, reason string) error {
	_, err := s.change(ctx, AllTenants(), e.TenantID, e.ID, 0, func(ctx context.Context, tx *Tx, d *Destination) error {
		if d.Key != e.Key || d.Version != e.Version || d.DisabledAt != nil {
			return errUnchanged
		}
		d.disable(time.Now(), disabler, reason)
		d.disabledCause = causeGone
		return tx.Audit(ctx, AuditEntry{Scope: d.TenantScope(), Actor: disabler, Action: "destination.disable", Object: d.ID,
			Detail: map[string]any{"reason": reason}})
	})
	if errors.Is(err, errUnchanged) || IsKind(err, KindNotFound) {
		return nil
	}
	return err
}

// errUnchanged ends a change that turned out not to be needed.
var errUnchanged = errors.New("nothing to change")

// HeldReason says why the destination's events are held.
func (d *Destination) HeldReason() string {
	if d.DisabledAt == nil {
		return ""
	}
	return heldReason(*d.DisabledAt, d.DisabledReason, d.DisabledBy)
}

// TenantScope is the scope of the destination's tenant.
func (d *Destination) TenantScope() Scope { return Scope{key: d.TenantKey} }
