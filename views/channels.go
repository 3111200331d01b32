package views

import (
	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// Channels is the list of channels.
type Channels struct {
	Page
	List []*models.Channel
	Last map[string]*models.Notification // what each was told last, by id
}

// ChannelType describes a kind of channel.
type ChannelType struct {
	Name, Label, Description, Instructions string
	Config, Secrets                        []adapters.Field
}

// NewChannel asks for the kind of a new channel. Its form has type.
type NewChannel struct {
	Page
	Form  Form
	Types []ChannelType
}

func (v NewChannel) options() []Option {
	out := make([]Option, len(v.Types))
	for i, t := range v.Types {
		out[i] = Option{Value: t.Name, Label: t.Label, Hint: t.Description}
	}
	return out
}

// ChannelForm is the form for a channel. Its controls are named like the API's fields: name, config.*.
type ChannelForm struct {
	Page
	Type    ChannelType
	Channel *models.Channel   // nil for a new one
	Shown   map[string]string // its settings, secrets masked
	Form    Form
	Signing string // the secret that receivers verify signatures with, this once; empty otherwise
}

// ChannelTest is how a test of a channel went.
type ChannelTest struct {
	Page
	Channel        *models.Channel
	OK             bool
	Code           int
	Answer         string
	Error, Advice  string
	Took           string
	Note           string // who was left out
	NotificationID string
}

func (v ChannelForm) action() string {
	if v.Channel != nil {
		return ChannelURL(v.Tenant, v.Channel.ID)
	}
	return NewChannelURL(v.Tenant) + "?type=" + v.Type.Name
}

func (v ChannelForm) control(f adapters.Field) Control {
	c := Control{Name: "config." + f.Key, Label: f.Label, Hint: f.Help, Placeholder: f.Placeholder, Required: f.Required && f.Default == "",
		Mono: f.Type == adapters.FieldText}
	for _, o := range f.Options {
		c.Options = append(c.Options, Option{Value: o.Value, Label: o.Label})
	}
	return c
}

func (v ChannelForm) secret(f adapters.Field) Secret {
	return Secret{Control: v.control(f), Saved: v.Shown[f.Key]}
}

func (v ChannelForm) labels() []Label {
	out := []Label{{"name", "Name"}}
	for _, fields := range [][]adapters.Field{v.Type.Config, v.Type.Secrets} {
		for _, f := range fields {
			out = append(out, Label{"config." + f.Key, f.Label})
		}
	}
	return out
}

func (v ChannelForm) submit() string {
	if v.Channel != nil {
		return "Save changes"
	}
	return "Create channel"
}

// ThenTestChannel is the value of then that sends a test after a channel was saved.
const ThenTestChannel = "test"

func (v ChannelTest) facts() []Fact {
	facts := []Fact{{Label: "Channel", Text: v.Channel.Name}, {Label: "Goes to", Text: v.Channel.Target, Mono: true}}
	if v.Code != 0 {
		facts = append(facts, Fact{Label: "Code", Text: count(v.Code)})
	}
	facts = append(facts, Fact{Label: "Answer", Text: v.Answer})
	if v.Note != "" {
		facts = append(facts, Fact{Label: "Note", Text: v.Note})
	}
	return append(facts, Fact{Label: "Duration", Text: v.Took},
		Fact{Label: "Log", Text: v.NotificationID, URL: NotificationURL(v.Tenant, v.NotificationID), Mono: true})
}
