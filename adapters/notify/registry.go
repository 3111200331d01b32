package notify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/adapters"
)

// Type is a kind of channel: what it tells people and programs of itself, and what it does.
type Type struct {
	Name         string // stable identifier: email, slack …
	Label        string
	Description  string           // one sentence
	Instructions string           // Markdown: how to set it up, where to find each value
	Config       []adapters.Field // shown and stored in clear text
	Secrets      []adapters.Field // sealed at rest and masked in every answer
	Order        int              // position among the kinds in pickers, low first

	// Complete fills in what is known only once every destination type has registered, and reports whether this server
	// has the kind of channel at all; nil for kinds that need neither.
	Complete func(t *Type) bool
	// Check finds what fields alone cannot say; nil for nothing. It may write normalised values back.
	Check func(owner string, config, secrets map[string]string) []adapters.FieldError
	// Target says in one line where notices go, without a secret.
	Target func(config map[string]string) string
	// Recipients lists the addresses that notices go to each, of kinds where each may unsubscribe; nil for the others.
	Recipients func(config map[string]string) []string
	// Tenant is the tenant that a channel publishes for, of kinds whose settings name one; nil for the others.
	Tenant func(config map[string]string) string
	// Open makes the channel for settings that were checked. It does not touch the network. Errors are *adapters.Error.
	Open func(env Env, config, secrets map[string]string) (Channel, error)

	config, secrets *adapters.FieldSet
}

var registry = map[string]*Type{}

// Register adds a kind of channel. It is called from init and panics on a defect: a name taken twice, a kind that cannot be
// opened, a pattern that does not compile, a select without options.
func Register(t Type) {
	if _, dup := registry[t.Name]; dup || t.Name == "" {
		panic(fmt.Sprintf("notify: channel type %q is registered twice or has no name", t.Name))
	}
	if t.Target == nil || t.Open == nil {
		panic(fmt.Sprintf("notify: channel type %q has no Target or no Open", t.Name))
	}
	t.prepare()
	registry[t.Name] = &t
}

func (t *Type) prepare() {
	owner := t.Name + " channels"
	t.config, t.secrets = adapters.NewFieldSet("config", owner, t.Config), adapters.NewFieldSet("config", owner, t.Secrets)
}

// Lookup returns a kind of channel, or nil.
func Lookup(name string) *Type {
	t := registry[name]
	if t == nil || t.Complete == nil {
		return t
	}
	complete := *t
	if !complete.Complete(&complete) {
		return nil
	}
	complete.prepare()
	return &complete
}

// Types returns all kinds of channels, in the order in which pickers show them.
func Types() []*Type {
	var out []*Type
	for name := range registry {
		if t := Lookup(name); t != nil {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b *Type) int { return cmp.Or(cmp.Compare(a.Order, b.Order), strings.Compare(a.Name, b.Name)) })
	return out
}

// Fields returns the config fields followed by the secret ones: callers write both into one object.
func (t *Type) Fields() []adapters.Field { return slices.Concat(t.Config, t.Secrets) }

// Secret returns the secret field of that key; nil when there is none, and for a kind that this server does not know.
func (t *Type) Secret(key string) *adapters.Field {
	if t == nil {
		return nil
	}
	if i := slices.IndexFunc(t.Secrets, func(f adapters.Field) bool { return f.Key == key }); i >= 0 {
		return &t.Secrets[i]
	}
	return nil
}

// Check reports every problem with the settings of a channel before it is stored. It fills in defaults and normalises
// values, in the maps that it is given, and makes a signing secret for webhooks that have none. Keys of problems are
// "config.url" for config and secrets alike, for callers write both into one object. owner is the tenant whose channel it
// is, empty for the operator's.
func Check(owner, name string, config, secrets map[string]string) []adapters.FieldError {
	t := Lookup(name)
	if t == nil {
		var names []string
		for _, t := range Types() {
			names = append(names, t.Name)
		}
		return []adapters.FieldError{{Key: "type", Message: "must be one of " + strings.Join(names, ", ")}}
	}
	errs := t.config.Check(&config)
	errs = append(errs, t.secrets.Check(&secrets)...)
	if len(errs) == 0 && t.Check != nil {
		errs = t.Check(owner, config, secrets)
	}
	return errs
}

// Target says in one line where a channel's notices go. It holds no secret, and is empty for an unknown kind.
func Target(name string, config map[string]string) string {
	if t := Lookup(name); t != nil {
		return t.Target(config)
	}
	return ""
}

// Recipients lists the addresses to which a channel's notices go and which may unsubscribe; nil for kinds without.
func Recipients(name string, config map[string]string) []string {
	if t := Lookup(name); t != nil && t.Recipients != nil {
		return t.Recipients(config)
	}
	return nil
}

// Tenant is the tenant for which a channel publishes its notices, where its settings name one; empty for other kinds.
func Tenant(name string, config map[string]string) string {
	if t := Lookup(name); t != nil && t.Tenant != nil {
		return t.Tenant(config)
	}
	return ""
}
