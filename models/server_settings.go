package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// settingsEvery is how often a process looks for settings that others have changed. A poll of one row needs no session, so it
// works behind a pooler in transaction mode, too, and it keeps the promise of a second without a listener.
const settingsEvery = 400 * time.Millisecond

// liveSettings are the rules that are in force in this process.
type liveSettings struct {
	rules  atomic.Pointer[Rules]
	base   Rules           // what the environment says
	locked map[string]bool // names of settings for which that is the last word

	mu    sync.Mutex // of who reads them
	state SettingsState
}

func (l *liveSettings) begin(base Rules, locked []string) {
	l.base, l.locked = base, map[string]bool{}
	for _, name := range locked {
		l.locked[name] = true
	}
	l.rules.Store(&base)
}

// Rules are the limits and defaults that are in force now, those of the environment and what was changed since. They are never
// written to: what is looked at twice and must be the same is kept.
func (s *Store) Rules() *Rules {
	if r := s.root().live.rules.Load(); r != nil {
		return r
	}
	return &noRules
}

// noRules are those of a store that was not opened.
var noRules Rules

// RulesOf are the rules for a tenant: its own where it has some, and the server's elsewhere.
func (s *Store) RulesOf(t *Tenant) *Rules { return t.Settings.over(s.Rules()) }

// SettingChange is who changed a setting last, and when.
type SettingChange struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// SettingsState are the settings of the server as they are stored.
type SettingsState struct {
	Version int64
	Stored  ServerSettings
	Changed map[string]SettingChange // by name; also of those that were taken back
}

// SettingState is one setting as it is in force in this process.
type SettingState struct {
	*SettingField
	Value   string // in force
	Base    string // what is in force without a stored value: the environment's, or the default
	Stored  string
	Has     bool // Stored is a value, be it an empty one
	Locked  bool // the environment has the last word
	Changed SettingChange
}

// InForce reports whether the stored value is the one in force.
func (x SettingState) InForce() bool { return x.Has && !x.Locked }

// SettingsOf lists every setting of a state as this process applies it.
func (s *Store) SettingsOf(state *SettingsState) []SettingState {
	rules, _ := s.live.apply(&state.Stored)
	out := make([]SettingState, len(settingFields))
	for i := range settingFields {
		f := &settingFields[i]
		x := SettingState{SettingField: f, Value: f.Rule(rules), Base: f.Rule(&s.live.base), Locked: s.live.locked[f.Name],
			Changed: state.Changed[f.Name]}
		x.Stored, x.Has = f.Stored(&state.Stored)
		out[i] = x
	}
	return out
}

// Effective are all settings as they are in force with a state.
func (s *Store) Effective(state *SettingsState) *ServerSettings {
	out := &ServerSettings{}
	for _, x := range s.SettingsOf(state) {
		_ = x.Enter(out, x.Value) // what is in force was checked
	}
	return out
}

// ChangedSettings are those that were changed while the server runs and are in force in this process, by their variables.
func (s *Store) ChangedSettings() map[string]SettingState {
	s.live.mu.Lock()
	state := s.live.state
	s.live.mu.Unlock()
	out := map[string]SettingState{}
	for _, x := range s.SettingsOf(&state) {
		if x.InForce() {
			out[x.Variable] = x
		}
	}
	return out
}

// WebhookSetting is the setting that a problem with the defaults of webhooks is about, and the field of theirs, by the problem's key.
func WebhookSetting(key string) (setting, field string) {
	switch field = strings.TrimPrefix(key, "config."); key {
	case "signature":
		return "webhook_signature", field
	case "config." + prefixField:
		return "webhook_header_prefix", field
	}
	return "webhook_config", field
}

// apply makes rules of what is stored, over those of the environment. What this process cannot read, since another version wrote
// it, stays as the environment has it, and is named.
func (l *liveSettings) apply(stored *ServerSettings) (*Rules, []string) {
	r := l.base
	var unread []string
	set := map[string]bool{}
	for i := range settingFields {
		f := &settingFields[i]
		text, has := f.Stored(stored)
		if !has || l.locked[f.Name] {
			continue
		}
		if err := f.SetRule(&r, text); err != nil {
			unread = append(unread, f.Name)
			continue
		}
		set[f.Name] = true
	}
	r.withoutScheduleBelow(func(name string) bool { return set[name] || name == "retry_schedule" && l.locked[name] })
	return &r, unread
}

const settingsSelect = "select version, settings, changes from server_settings where version <> $1"

// KnowSettings reads the server's settings, if they have changed since they were read last.
func (s *Store) KnowSettings(ctx context.Context) error {
	l := &s.live
	l.mu.Lock()
	defer l.mu.Unlock()
	rows, err := s.pool.Query(ctx, settingsSelect, l.state.Version)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return rows.Err()
	}
	var state SettingsState
	if err := rows.Scan(&state.Version, &state.Stored, &state.Changed); err != nil {
		return err
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return err
	}
	rules, unread := l.apply(&state.Stored)
	l.state = state
	old := l.rules.Swap(rules)
	if len(unread) > 0 {
		s.log.Warn("settings that were changed while servers ran are not ones that this version knows; what the environment says is in force",
			"settings", strings.Join(unread, ", "))
	}
	if old.Intake != rules.Intake {
		return s.knowIntakesAgain(ctx)
	}
	return nil
}

// FollowSettings reads the server's settings again and again until ctx ends, the limits of tenants, and which cells there are: cells is
// called with what is known of them after each look. While nothing changes, a look is one statement.
func (s *Store) FollowSettings(ctx context.Context, log *slog.Logger, cells func([]Cell)) {
	follow(ctx, settingsEvery, log, "settings, limits and cells could not be read; those known so far stay in force", func(ctx context.Context) error {
		err := s.lookForChanges(ctx)
		cells(s.Cells())
		return err
	})
}

// lookForChanges reads settings, limits of tenants and cells if others have changed them.
func (s *Store) lookForChanges(ctx context.Context) error {
	var settings int64
	var raised map[string]int64
	err := s.pool.QueryRow(ctx, `select version, (select coalesce(jsonb_object_agg(key, value), '{}') from settings where key = any($1))
		from server_settings`, []string{cellsVersion, operatorsVersion, topicsVersion, intakeVersion}).Scan(&settings, &raised)
	if err != nil {
		return err
	}
	s.cells.operators.Store(raised[operatorsVersion])
	s.cells.topics.Store(raised[topicsVersion])
	s.live.mu.Lock()
	same := s.live.state.Version == settings
	s.live.mu.Unlock()
	if !same {
		err = s.KnowSettings(ctx)
	}
	if !s.intakes.knows(raised[intakeVersion]) {
		err = errors.Join(err, s.KnowIntakes(ctx))
	}
	if !s.cells.knows(raised[cellsVersion]) {
		err = errors.Join(err, s.KnowCells(ctx))
	}
	if s.Cells() != nil {
		err = errors.Join(err, s.catalogue.read(ctx, s))
	}
	return err
}

// follow reads again and again what others may have changed, until ctx ends. trouble is told once for each time that it does not work.
func follow(ctx context.Context, every time.Duration, log *slog.Logger, trouble string, read func(context.Context) error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := read(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			log.Warn(trouble, "error", err)
		}
		failing = err != nil
	}
}

// ServerSettings reads the server's settings as they are stored.
func (s *Store) ServerSettings(ctx context.Context) (*SettingsState, error) {
	return readSettings(ctx, s.pool, "")
}

func readSettings(ctx context.Context, db querier, lock string) (*SettingsState, error) {
	x := &SettingsState{}
	err := db.QueryRow(ctx, "select version, settings, changes from server_settings"+lock).Scan(&x.Version, &x.Stored, &x.Changed)
	return x, err
}

// UpdateServerSettings changes the server's settings as a merge patch (RFC 7396): what is nil stays as it is, and what was removed
// is what the environment says again. With a version other than 0 that is not the one in force, the error is KindStale and nothing
// happens. Every process follows within a second.
func (s *Store) UpdateServerSettings(ctx context.Context, patch *ServerSettings, version int64) (*SettingsState, error) {
	var out *SettingsState
	err := s.InTx(ctx, func(tx *Tx) error {
		state, err := readSettings(ctx, tx, " for update")
		if err != nil {
			return err
		}
		if version != 0 && version != state.Version {
			return &Error{Kind: KindStale,
				Message: "The settings were changed since you read them. Read them again, then repeat the change."}
		}
		out = state
		before := s.SettingsOf(state)
		touched, err := s.mergeServerSettings(&state.Stored, patch)
		if err != nil {
			return err
		}
		after := s.SettingsOf(state)
		var changes []Change
		by, _ := ctx.Value(askerKey{}).(Asker)
		state.Changed = maps.Clone(state.Changed)
		for i, x := range after {
			if b := before[i]; touched[x.Name] && (b.Has != x.Has || b.Stored != x.Stored) {
				changes = append(changes, Change{Field: x.Name, From: x.told(b.Value), To: x.told(x.Value)})
				state.Changed[x.Name] = SettingChange{By: by.Actor, At: time.Now().UTC().Truncate(time.Millisecond)}
			}
		}
		if len(changes) == 0 {
			return nil
		}
		stored, err := json.Marshal(&state.Stored)
		if err != nil {
			return fmt.Errorf("write settings: %w", err)
		}
		err = tx.QueryRow(ctx, "update server_settings set version = version + 1, settings = $1, changes = $2 returning version",
			string(stored), state.Changed).Scan(&state.Version)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Action: "server.settings", Object: "settings", Changes: changes})
	})
	if err != nil {
		return nil, err
	}
	return out, s.KnowSettings(ctx) // others know within settingsEvery
}

// told is a value as the audit log keeps it.
func (x SettingState) told(text string) any {
	v, err := x.parse(text)
	if err != nil {
		return text
	}
	return x.shown(v)
}

// mergeServerSettings writes a patch over what is stored, reports what is wrong with the result, and returns what the patch is about.
func (s *Store) mergeServerSettings(stored, patch *ServerSettings) (touched map[string]bool, err error) {
	bad, touched := problems{}, map[string]bool{}
	to, from := reflect.ValueOf(stored).Elem(), reflect.ValueOf(patch).Elem()
	for i := range settingFields {
		f := &settingFields[i]
		removed := slices.Contains(patch.removed, f.Name)
		text, given := f.Stored(patch)
		if !removed && !given {
			continue
		}
		touched[f.Name] = true
		if s.live.locked[f.Name] {
			bad.add(f.Name, "is locked by the server's environment (SETTINGS_LOCKED)")
			continue
		}
		if removed {
			f.in(to).SetZero()
			continue
		}
		if _, err := f.parse(text); err != nil {
			f.problem(bad, err)
			continue
		}
		f.in(to).Set(f.in(from))
	}
	if len(bad) == 0 {
		rules, _ := s.live.apply(stored)
		for _, p := range rules.Webhook.Problems() {
			setting, field := WebhookSetting(p.Key)
			if setting == "webhook_config" {
				p.Message = field + " " + p.Message
			}
			bad.add(setting, p.Message)
		}
	}
	return touched, bad.err()
}
