package notify

// Mail is one notice in the words of a mail. Empty texts are left out.
type Mail struct {
	State   string // "Critical", "Resolved" …
	Tone    Tone
	Summary string
	Facts   []MailFact
	Error   string
	Advice  string
	Excerpt string // several lines
	Failed  []MailFailed
	Others  string
	Links   []MailLink // addresses of the web

	BaseURL, UnsubscribeURL string
	Why                     string // the mail was sent: "because …"; empty for a channel that names the address
}

// MailFailed is an event that failed: its id, what is known of it, and the page of its last attempt, which may be empty.
type MailFailed struct{ Event, About, URL string }

// MailFact is a label and its value.
type MailFact struct{ Label, Value string }

// MailLink is a labelled address.
type MailLink struct{ Label, URL string }

// Tone is how a mail feels, and so its colour.
type Tone string

// The tones of mails.
const (
	Bad  Tone = "bad"
	Warn Tone = "warn"
	Good Tone = "good"
	Calm Tone = "calm"
)

func mailView(n *Notice, base string) Mail {
	v := Mail{State: n.state(), Tone: tone(n), Summary: n.summary(), Error: n.failure(), Advice: oneLine(n.Advice, 1000),
		Excerpt: block(n.ResponseExcerpt, 2000), Others: n.others(), BaseURL: link(base)}
	for _, f := range n.facts() {
		v.Facts = append(v.Facts, MailFact{Label: f.label, Value: f.value})
	}
	for _, l := range n.failedLines() {
		v.Failed = append(v.Failed, MailFailed{Event: l.event, About: l.about, URL: l.url})
	}
	for _, l := range n.links() {
		v.Links = append(v.Links, MailLink{Label: l.label, URL: l.value})
	}
	return v
}

func tone(n *Notice) Tone {
	switch {
	case n.Kind == Resolved:
		return Good
	case n.Kind == Acknowledged, n.Kind == Test, n.Severity == Info:
		return Calm
	case n.Severity == Critical, n.Severity == ErrorSev:
		return Bad
	}
	return Warn
}
