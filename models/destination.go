package models

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/waybill-dev/waybill/adapters"
)

// Destination is where events of a tenant go.
type Destination struct {
	Key              int64 `gorm:"primaryKey"` // never leaves the server but inside ids of deliveries
	TenantKey        int64
	ID               string
	Type             string            // a registered adapters.Type
	Name             string            // for people; may be empty
	Topics           []string          `gorm:"serializer:json"` // ["*"] for all, also future ones
	Filter           json.RawMessage   `gorm:"type:json"`       // as the caller wrote it; null for none
	FilterKey        *int64            // the row of destination_filters in force
	OpenConfig       map[string]string `gorm:"column:config;serializer:json"` // what is stored in clear text of Config
	SealedCreds      []byte            `gorm:"column:credentials"`
	DeliveryMetadata map[string]string `gorm:"serializer:json"` // goes out with every event
	Metadata         map[string]string `gorm:"serializer:json"` // the owner's notes
	Retry            *RetryPolicy      `gorm:"serializer:json"` // nil for the server's default
	TimeoutMS        *int              `gorm:"column:timeout_ms"`
	MaxInFlight      *int
	Signature        string
	DisabledAt       *time.Time
	DisabledReason   string
	DisabledBy       string
	Careful          bool
	Version          int64 `gorm:"default:1"` // rises with every change
	CreatedAt        time.Time
	UpdatedAt        time.Time
	DeletedAt        *time.Time

	TenantID    string            `gorm:"-"` // the tenant's public id
	Config      map[string]string `gorm:"-"` // in clear text; never shown but by MaskedConfig
	Credentials map[string]string `gorm:"-"` // in clear text; never shown but by Masked
}

// AllTopics is the subscription to every topic, also future ones.
const AllTopics = "*"

// TakesAll reports whether the destination subscribes to every topic.
func (d *Destination) TakesAll() bool { return slices.Contains(d.Topics, AllTopics) }

// Registration is the destination's type, or nil when this build lacks it.
func (d *Destination) Registration() *adapters.Registration { return adapters.Lookup(d.Type) }

// Settings is what the destination's type needs to send.
func (d *Destination) Settings() adapters.Settings {
	return adapters.Settings{ID: d.ID, TenantID: d.TenantID, Version: d.Version, Config: d.Config, Credentials: d.Credentials,
		Timeout: d.timeout(15 * time.Second), Signature: d.Signature}
}

func (d *Destination) timeout(dflt time.Duration) time.Duration {
	if d.TimeoutMS != nil {
		return time.Duration(*d.TimeoutMS) * time.Millisecond
	}
	return dflt
}

// Target says in one line where events go, and the address of a page about it where there is one.
func (d *Destination) Target() (label, url string) {
	if r := d.Registration(); r != nil {
		return r.Target(d.Settings())
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

// Masked returns the credentials as everybody may see them. With secrets, the ones that the owner shares with the
// receiver (a signing secret) are in full.
func (d *Destination) Masked(secrets bool) map[string]string {
	out := map[string]string{}
	r := d.Registration()
	for k, v := range d.Credentials {
		out[k] = mask(v)
		if r == nil {
			continue
		}
		for _, f := range r.Spec.Credentials {
			if f.Key == k && (!f.Sensitive || f.Shared && secrets) {
				out[k] = v
			}
		}
	}
	return out
}

// MaskedConfig returns the config with its sensitive values masked.
func (d *Destination) MaskedConfig() map[string]string {
	out := map[string]string{}
	for k, v := range d.Config {
		out[k] = v
	}
	for _, f := range d.sensitiveConfig() {
		if out[f.Key] != "" {
			out[f.Key] = maskField(f, out[f.Key])
		}
	}
	return out
}

func (d *Destination) sensitiveConfig() (fields []adapters.Field) {
	if r := d.Registration(); r != nil {
		for _, f := range r.Spec.Config {
			if f.Sensitive {
				fields = append(fields, f)
			}
		}
	}
	return fields
}

// maskField masks a field's value; of a map each value, so that its names stay readable.
func maskField(f adapters.Field, v string) string {
	var m map[string]string
	if f.Type != adapters.FieldMap || json.Unmarshal([]byte(v), &m) != nil {
		return mask(v)
	}
	for k, x := range m {
		m[k] = mask(x)
	}
	return toJSON(m)
}

// unmask puts back what was masked in a value that comes back from somebody who saw it masked.
func unmask(f adapters.Field, old, v string) string {
	if v == maskField(f, old) {
		return old
	}
	var was, is map[string]string
	if f.Type != adapters.FieldMap || json.Unmarshal([]byte(old), &was) != nil || json.Unmarshal([]byte(v), &is) != nil {
		return v
	}
	for k, x := range is {
		if was[k] != "" && x == mask(was[k]) {
			is[k] = was[k]
		}
	}
	return toJSON(is)
}

func toJSON(m map[string]string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(m) // a map of strings always prints
	return strings.TrimSpace(b.String())
}

// mask keeps enough of a secret to recognise it.
func mask(s string) string {
	if len(s) >= 16 {
		return s[:6] + "••••••"
	}
	if s == "" {
		return ""
	}
	return "••••••"
}

func (d *Destination) sealContext() string {
	return fmt.Sprintf("destination %d %s", d.TenantKey, d.ID)
}

// sealed is what a destination keeps encrypted: its credentials, and the config that is sensitive.
type sealed struct {
	Credentials map[string]string `json:"credentials,omitempty"`
	Config      map[string]string `json:"config,omitempty"`
}

// open fills in what the row alone does not hold.
func (s *Store) open(d *Destination, tenantID string) error {
	d.TenantID = tenantID
	d.Credentials, d.Config = map[string]string{}, map[string]string{}
	maps.Copy(d.Config, d.OpenConfig)
	if len(d.SealedCreds) == 0 {
		return nil
	}
	plain, err := s.Keys.Open(d.SealedCreds, d.sealContext())
	if err != nil {
		return fmt.Errorf("credentials of destination %s: %w", d.ID, err)
	}
	var in sealed
	if err := json.Unmarshal(plain, &in); err != nil {
		return fmt.Errorf("credentials of destination %s: %w", d.ID, err)
	}
	maps.Copy(d.Credentials, in.Credentials)
	maps.Copy(d.Config, in.Config)
	return nil
}

// seal makes the row of what was changed: what is sensitive is encrypted.
func (s *Store) seal(d *Destination) error {
	out := sealed{Credentials: d.Credentials, Config: map[string]string{}}
	d.OpenConfig = maps.Clone(d.Config)
	for _, f := range d.sensitiveConfig() {
		if v, has := d.Config[f.Key]; has {
			out.Config[f.Key] = v
			delete(d.OpenConfig, f.Key)
		}
	}
	if d.OpenConfig == nil {
		d.OpenConfig = map[string]string{}
	}
	d.SealedCreds = nil
	if len(out.Credentials)+len(out.Config) == 0 {
		return nil
	}
	plain, err := json.Marshal(out)
	if err != nil {
		return err
	}
	d.SealedCreds = s.Keys.Seal(plain, d.sealContext())
	return nil
}

// Topics is a destination's subscription as callers write it: "*" or a list of topics.
type Topics []string

// UnmarshalJSON reads "*", a list, or a single topic.
func (t *Topics) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = Topics{one}
		return nil
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return errors.New(`must be "*" or an array of topics`)
	}
	*t = list
	return nil
}

// MarshalJSON prints "*" for all topics, otherwise a list.
func (t Topics) MarshalJSON() ([]byte, error) {
	if slices.Contains(t, AllTopics) {
		return []byte(`"*"`), nil
	}
	return json.Marshal([]string(t))
}

// DestinationInput is what a caller may say of a destination, to create it and, as a merge patch (RFC 7396), to change
// it. What is nil stays as it is.
type DestinationInput struct {
	ID               *string         `json:"id"`   // when creating; made up when missing
	Type             *string         `json:"type"` // cannot be changed
	Name             *string         `json:"name"`
	Topics           *Topics         `json:"topics"`
	Filter           json.RawMessage `json:"filter"` // {}, "" or null for none; absent leaves it as it is
	Config           Values          `json:"config"`
	Credentials      Values          `json:"credentials"`
	DeliveryMetadata StringPatch     `json:"delivery_metadata"`
	Metadata         StringPatch     `json:"metadata"`
	Retry            *RetryPolicy    `json:"retry"` // replaced as a whole; {} for the server's default
	Timeout          *Duration       `json:"timeout"`
	MaxInFlight      *int            `json:"max_in_flight"`
	Signature        *string         `json:"signature"`
	Disabled         *bool           `json:"-"` // when creating from a page: save without starting to deliver
}

// merge writes the input into d and reports what is wrong with the result.
func (s *Store) merge(ctx context.Context, d *Destination, in *DestinationInput) error {
	bad := problems{}
	if in.Name != nil {
		d.Name = strings.TrimSpace(*in.Name)
		checkText("name", d.Name, maxNameLength, bad)
	}
	if in.Topics != nil {
		d.Topics = s.checkTopics(ctx, *in.Topics, bad)
	}
	if in.Filter != nil {
		d.Filter = checkFilter(in.Filter, bad)
	}
	d.DeliveryMetadata = in.DeliveryMetadata.apply(d.DeliveryMetadata)
	checkMetadata("delivery_metadata", d.DeliveryMetadata, bad)
	d.Metadata = in.Metadata.apply(d.Metadata)
	checkMetadata("metadata", d.Metadata, bad)
	s.mergeDelivery(d, in, bad)
	s.mergeSettings(d, in, bad)
	return bad.err()
}

func (s *Store) mergeDelivery(d *Destination, in *DestinationInput, bad problems) {
	if in.Retry != nil {
		in.Retry.check("retry", bad)
		d.Retry = in.Retry
		if b, _ := json.Marshal(in.Retry); string(b) == "{}" {
			d.Retry = nil
		}
	}
	if in.Timeout != nil {
		ms := int(time.Duration(*in.Timeout).Milliseconds())
		d.TimeoutMS = &ms
		if ms == 0 {
			d.TimeoutMS = nil
		} else if ms < 100 || ms > 120_000 {
			bad.add("timeout", "must be between 100ms and 2m")
		}
	}
	if in.MaxInFlight != nil {
		d.MaxInFlight = in.MaxInFlight
		if *in.MaxInFlight == 0 {
			d.MaxInFlight = nil
		} else if *in.MaxInFlight < 1 || *in.MaxInFlight > 1000 {
			bad.add("max_in_flight", "must be between 1 and 1000")
		}
	}
	if in.Signature != nil {
		d.Signature = *in.Signature
		if !slices.Contains([]string{"", "standard", "outpost"}, d.Signature) {
			bad.add("signature", `must be "standard" or "outpost"`)
		}
	}
}

func (s *Store) mergeSettings(d *Destination, in *DestinationInput, bad problems) {
	r := d.Registration()
	if r == nil {
		return // refused when it was created
	}
	for key, v := range in.Credentials {
		// A masked value that comes back as it was shown changes nothing.
		if v != nil && *v != "" && d.Credentials[key] != "" && *v == mask(d.Credentials[key]) {
			delete(in.Credentials, key)
		}
	}
	for _, f := range d.sensitiveConfig() {
		if v, old := in.Config[f.Key], d.Config[f.Key]; v != nil && old != "" {
			plain := unmask(f, old, *v)
			in.Config[f.Key] = &plain
		}
	}
	d.Config = in.Config.apply(d.Config)
	d.Credentials = in.Credentials.apply(d.Credentials)
	set := d.Settings()
	for _, fe := range r.Check(&set) {
		bad.add(fe.Key, fe.Message)
	}
	d.Config, d.Credentials = set.Config, set.Credentials
}

func (s *Store) checkTopics(ctx context.Context, topics []string, bad problems) []string {
	if len(topics) == 0 {
		bad.add("topics", `must be "*" or name at least one topic`)
		return nil
	}
	if len(topics) > 1000 {
		bad.add("topics", "must name at most 1,000 topics")
		return nil
	}
	if slices.Contains(topics, AllTopics) {
		return []string{AllTopics}
	}
	catalogue, err := s.TopicNames(ctx)
	if err != nil {
		bad.add("topics", "could not be checked")
		return nil
	}
	out := slices.Clone(topics)
	slices.Sort(out)
	out = slices.Compact(out)
	for i, t := range out {
		checkTopic(fmt.Sprintf("topics[%d]", i), t, bad)
		if len(catalogue) > 0 && !slices.Contains(catalogue, t) {
			bad.add(fmt.Sprintf("topics[%d]", i), fmt.Sprintf("%q is not in the catalogue: %s", cut(t, 80), listSome(catalogue)))
		}
	}
	return out
}

// listSome lists the first names of many.
func listSome(names []string) string {
	if len(names) > 10 {
		return strings.Join(names[:10], ", ") + fmt.Sprintf(" and %d more", len(names)-10)
	}
	return strings.Join(names, ", ")
}

// CreateDestination creates a destination of a tenant.
func (s *Store) CreateDestination(ctx context.Context, scope Scope, tenantID string, in DestinationInput) (*Destination, error) {
	t, err := s.Tenant(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	bad := problems{}
	d := &Destination{TenantKey: t.Key, TenantID: t.ID, ID: randomID(destinationPrefix), Version: 1}
	if in.ID != nil {
		d.ID = *in.ID
		checkID("id", d.ID, bad)
	}
	if in.Type != nil {
		d.Type = *in.Type
	}
	if d.Type == "" {
		bad.add("type", "is required: one of "+typeNames())
	} else if d.Registration() == nil {
		bad.add("type", fmt.Sprintf("%q is not a destination type: use one of %s", cut(d.Type, 40), typeNames()))
	}
	if in.Topics == nil {
		bad.add("topics", `is required: "*" for all, or an array of topics`)
	}
	if len(bad) > 0 && bad["type"] != "" {
		return nil, bad.err()
	}
	if err := s.merge(ctx, d, &in); err != nil {
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
	if in.Disabled != nil && *in.Disabled {
		now := time.Now()
		d.DisabledAt, d.DisabledReason = &now, "Saved without being switched on."
	}
	if err := s.seal(d); err != nil {
		return nil, err
	}
	err = s.changeDestinations(ctx, t, func(ctx context.Context, tx *Tx) error {
		filter := d.Filter
		if err := tx.DB.Create(d).Error; err != nil {
			return err
		}
		d.Filter = filter
		return saveFilter(ctx, tx, d)
	})
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		return nil, &Error{Kind: KindMalformed, Message: fmt.Sprintf("There is already a destination %q. Choose another id, or leave it out to get one.", d.ID),
			Fields: map[string]string{"id": "is already taken"}}
	}
	return d, err
}

func typeNames() string {
	var names []string
	for _, r := range adapters.All() {
		names = append(names, r.Spec.Name)
	}
	return strings.Join(names, ", ")
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
	return s.destination(s.DB.WithContext(ctx), t, id)
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
	Types  []string
	Topics []string // subscribed to one of them, or to all
	State  string   // active or disabled; empty for both
	Text   string   // part of name, id or target
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
	return out, nil
}

func (dq DestinationQuery) matches(d *Destination) bool {
	if dq.State != "" && d.State() != dq.State {
		return false
	}
	if len(dq.Topics) > 0 && !d.TakesAll() && !slices.ContainsFunc(dq.Topics, func(t string) bool { return slices.Contains(d.Topics, t) }) {
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
func (s *Store) UpdateDestination(ctx context.Context, scope Scope, tenantID, id string, version int64, in DestinationInput) (*Destination, error) {
	return s.change(ctx, scope, tenantID, id, version, func(ctx context.Context, tx *Tx, d *Destination) error {
		bad := problems{}
		if in.Type != nil && *in.Type != d.Type {
			bad.add("type", "cannot be changed: create another destination")
		}
		if in.ID != nil && *in.ID != d.ID {
			bad.add("id", "cannot be changed")
		}
		if err := bad.err(); err != nil {
			return err
		}
		before := string(d.Filter)
		if err := s.merge(ctx, d, &in); err != nil {
			return err
		}
		if string(d.Filter) != before {
			return saveFilter(ctx, tx, d)
		}
		return nil
	})
}

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
		if err := fn(ctx, tx, d); err != nil {
			return err
		}
		if err := s.seal(d); err != nil {
			return err
		}
		d.Version++
		d.UpdatedAt = time.Now()
		return tx.DB.Save(d).Error
	})
	return d, err
}

// DeleteDestination deletes a destination; version as in UpdateDestination. Its deliveries that wait are cancelled by
// the workers, its history stays.
func (s *Store) DeleteDestination(ctx context.Context, scope Scope, tenantID, id string, version int64) (*Destination, error) {
	return s.change(ctx, scope, tenantID, id, version, func(ctx context.Context, tx *Tx, d *Destination) error {
		now := time.Now()
		d.DeletedAt = &now
		return s.enqueueRelease(ctx, tx, Release{Destination: d.Key, Action: BacklogDrop, Actor: "system"})
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
		if d.DisabledAt == nil {
			now := time.Now()
			d.DisabledAt = &now
		}
		d.DisabledBy, d.DisabledReason = actor, reason
		return nil
	})
}

// EnableDestination starts deliveries again. backlog says what happens to the events held meanwhile.
func (s *Store) EnableDestination(ctx context.Context, scope Scope, tenantID, id, actor string, backlog Backlog) (*Destination, error) {
	if err := backlog.check(); err != nil {
		return nil, err
	}
	return s.change(ctx, scope, tenantID, id, 0, func(ctx context.Context, tx *Tx, d *Destination) error {
		d.DisabledAt, d.DisabledBy, d.DisabledReason = nil, "", ""
		return s.enqueueRelease(ctx, tx, backlog.release(d.Key, actor))
	})
}

// RotateSecret gives the destination a new secret; the one in force stays valid beside it for the overlap. Types whose
// secret the server makes have a field for it, which their validation acts upon.
func (s *Store) RotateSecret(ctx context.Context, scope Scope, tenantID, id string, overlap time.Duration) (*Destination, error) {
	if overlap < 0 || overlap > 30*24*time.Hour {
		return nil, Invalid("overlap", "must be between 0s and 720h")
	}
	return s.change(ctx, scope, tenantID, id, 0, func(ctx context.Context, _ *Tx, d *Destination) error {
		if !d.Registration().Rotates() {
			return conflict("Destinations of type %s have no secret of ours to rotate. Change their credentials instead.", d.Type)
		}
		yes, until := "true", time.Now().Add(overlap).UTC().Format(time.RFC3339)
		return s.merge(ctx, d, &DestinationInput{Credentials: Values{adapters.RotateField: &yes, "previous_secret_invalid_at": &until}})
	})
}

// DisableGone disables a destination whose receiver says that it is gone, unless it was changed since it said so.
func (s *Store) DisableGone(ctx context.Context, e *Endpoint, reason string) error {
	_, err := s.change(ctx, AllTenants(), e.TenantID, e.ID, 0, func(_ context.Context, _ *Tx, d *Destination) error {
		if d.Key != e.Key || d.Version != e.Version || d.DisabledAt != nil {
			return errUnchanged
		}
		now := time.Now()
		d.DisabledAt, d.DisabledBy, d.DisabledReason = &now, "Waybill", reason
		return nil
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
