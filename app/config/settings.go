package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/models"
)

// Where a setting's value comes from.
const (
	SourceEnvironment = "environment"
	SourceFile        = "file"       // that NAME_FILE names
	SourceCredential  = "credential" // of systemd
	SourceDefault     = "default"
	SourceDerived     = "derived" // from other settings, or made up at the first start
)

// Sources lists them.
var Sources = []string{SourceEnvironment, SourceFile, SourceCredential, SourceDefault, SourceDerived, SourceStored}

// SourceStored is the source of what was set while the server runs, and StoredText says so to people.
const (
	SourceStored = "stored"
	StoredText   = "Set by page or API"
)

// Setting is a variable with the value that is in force, and where that comes from. It never holds a secret: of those it only
// says whether they are set.
type Setting struct {
	Name   string // of the variable
	Value  string // empty for a secret, and where nothing is set
	Set    bool   // whether there is a value, be it the default
	Secret bool   // the value is not told
	Source string // one of Sources
	From   string // what gave the value: a variable, a credential's name, or how it was derived; empty for the default
	Help   string // what it is, in a line

	Problem string // why its file was not taken over, so that the value of before is in force; empty for nothing
}

// secretName are the names of variables whose values are never told. A new one that sounds like a secret is one, until somebody
// says otherwise in notSecret.
var secretName = regexp.MustCompile(`KEY|SECRET|PASSWORD|CREDENTIALS|TOKEN|HEADERS`)

// notSecret are variables that only sound like it: choices, and the paths of files.
var notSecret = []string{"HOST_CREDENTIALS", "TOKEN_AUDIENCE", "GOOGLE_APPLICATION_CREDENTIALS", otlp + "CLIENT_KEY"}

// addressName are the names of variables that hold addresses, in which there may be a password.
var addressName = regexp.MustCompile(`_URL(_DIRECT|_REPLICA)?$|_ENDPOINT$`)

// withQuery are addresses whose query is worth reading and holds no secret.
var withQuery = []string{"LOGS_URL", "TRACES_URL"}

// read is a variable as it was given. name is the one that it was read from.
func read(f *files, v variable, name string) Setting {
	s := Setting{Name: v.name, Help: v.help, Secret: secretName.MatchString(v.name) && !slices.Contains(notSecret, v.name)}
	var value string
	value, s.Source, s.From = f.find(name)
	if value == "" {
		value, s.Source, s.From = v.dflt, SourceDefault, ""
	}
	s.tell(value)
	return s
}

// tell sets the value, as far as it may be seen.
func (s *Setting) tell(value string) {
	switch s.Set = value != ""; {
	case s.Secret:
	case addressName.MatchString(s.Name):
		s.Value = plainAddress(s.Name, value)
	default:
		s.Value = value
	}
}

// plainAddress is an address without user, password, query and fragment. The path of a webhook may be a secret by itself.
func plainAddress(name, value string) string {
	if value == "" {
		return ""
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" {
		return "set"
	}
	out := u.Scheme + "://" + u.Host
	switch {
	case name == "OPERATOR_EVENTS_HTTP_URL":
		if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			out += "/…"
		}
		return out
	case slices.Contains(withQuery, name):
		_, rest, _ := strings.Cut(value, "://") // the host's name may be in what stands before it, too
		return out + rest[min(strings.IndexAny(rest+"/", "/?#"), len(rest)):]
	case u.RawQuery != "":
		return out + u.Path + "?…"
	}
	return out + u.Path
}

// Settings lists every variable with the value that is in force, in the order of .env.example.
func (c *Config) Settings() []Setting { return c.given }

// derive fills in what follows from other settings, once all are read.
func (c *Config) derive() {
	for i := range c.given {
		s := &c.given[i]
		if s.Source == SourceDefault {
			if value, how := c.derived(s.Name); how != "" {
				s.Source, s.From = SourceDerived, how
				s.tell(value)
			}
		} else if s.Name == "EGRESS_ALLOW" && c.onThisMachine() {
			s.Value += ", 127.0.0.0/8, ::1/128"
			s.From += ", and loopback because of the private PostgreSQL"
		}
	}
}

// onThisMachine reports whether destinations may reach this machine because the server is for it only.
func (c *Config) onThisMachine() bool { return c.Private() && c.Role == "serve" }

// derived is the value of a variable that nobody gave and that has no fixed default, with how it came about; how is empty where
// there is none.
func (c *Config) derived(name string) (value, how string) {
	kept := func(file string) string { return "made at the first start, kept in " + filepath.Join(c.DataDir, file) }
	switch name {
	case "HOST":
		if c.Private() {
			return c.Host, "no DATABASE_URL: for this machine only"
		}
		return c.Host, "DATABASE_URL is given: for every address"
	case "BASE_URL":
		return c.BaseURL, "PORT"
	case "DATABASE_URL":
		if c.Private() {
			return "", "private PostgreSQL in " + c.DataDir
		}
	case "SECRET_KEY":
		if c.Role == "serve" || c.SecretKey != "" {
			return "made up", kept(models.KeyFile)
		}
	case "API_KEY":
		if c.Role == "serve" || c.APIKey != "" {
			return "made up", kept("api_key")
		}
	case "OIDC_NAME":
		if c.OIDC.On() {
			return c.OIDC.Name, "OIDC_ISSUER"
		}
	case "EGRESS_ALLOW":
		if c.onThisMachine() {
			return "127.0.0.0/8, ::1/128", "no DATABASE_URL: for this machine only"
		}
	case "LOG_FORMAT":
		return "", "text on a terminal, else json"
	}
	return "", ""
}

// Shown is the value for people.
func (s Setting) Shown() string {
	switch {
	case s.Secret && s.Set:
		return "set"
	case s.Value == "" && s.Source != SourceDerived:
		return "not set"
	}
	return s.Value
}

// SourceText says in words where the value comes from.
func (s Setting) SourceText() string {
	switch s.Source {
	case SourceEnvironment:
		if s.From != s.Name {
			return "Environment: " + s.From
		}
		return "Environment"
	case SourceFile:
		return "File: " + s.From
	case SourceCredential:
		return "Credential: " + s.From
	case SourceDerived:
		return "Derived: " + s.From
	case SourceStored:
		return StoredText
	}
	return "Default"
}

// Matches reports whether the setting has a text in its name, value or explanation, whatever the case of its letters.
func (s Setting) Matches(text string) bool {
	text = strings.ToLower(strings.TrimSpace(text))
	return strings.Contains(strings.ToLower(s.Name+" "+s.Value+" "+s.Help+" "+s.SourceText()), text)
}

// Table lists settings for a terminal, one a line.
func Table(list []Setting) string {
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "%-36s %-32s %s\n", s.Name, s.Shown(), s.SourceText())
	}
	return b.String()
}
