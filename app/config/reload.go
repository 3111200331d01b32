package config

import (
	"errors"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// reloadable are the variables that a running process takes from their files anew.
var reloadable = []string{"DATABASE_URL", "DATABASE_URL_DIRECT", "DATABASE_URL_REPLICA", "API_KEY", "SECRET_KEY", "SECRET_KEY_PREVIOUS", "OIDC_CLIENT_SECRET",
	"SMTP_URL", "MAIL_FROM"}

// operatorPrefix begins the variables of the operators' destination, which are reloadable, too.
const operatorPrefix = "OPERATOR_EVENTS_"

// Reloadable reports whether a running process takes a variable from its file anew.
func Reloadable(name string) bool {
	return slices.Contains(reloadable, name) || strings.HasPrefix(name, operatorPrefix)
}

// Reread is what the files of variables say now.
type Reread struct {
	*Config                   // with the values that are new, and those of before where something is wrong
	Changed  []string         // reloadable variables with another value
	Problems map[string]error // by variable: the value of before stays
	Restart  []string         // variables with another value that only a restart takes over
}

// Reread reads the files of variables again: those that NAME_FILE names, and systemd's credentials. c stays as it is.
func (c *Config) Reread() Reread {
	n := *c
	n.Operator.values, n.fromFiles = maps.Clone(c.Operator.values), maps.Clone(c.fromFiles)
	r := Reread{Config: &n, Problems: map[string]error{}}
	files := &files{env: c.env}
	mail := false
	for _, v := range variables() {
		before, given := c.fromFiles[v.name]
		if !given {
			continue
		}
		value := files.get(v.name)
		if err := files.problems[v.name]; err != nil {
			r.Problems[v.name] = err
			continue
		}
		if value == "" { // systemd has taken the credential away
			r.Problems[v.name] = errors.New("is not there any more")
			continue
		}
		if value == before {
			continue
		}
		if !Reloadable(v.name) {
			r.Restart = append(r.Restart, v.name)
			continue
		}
		tried := n
		tried.Operator.values = maps.Clone(n.Operator.values)
		if err := v.set(&reader{&tried, files.get}, value); err != nil {
			r.Problems[v.name] = err
			continue
		}
		n = tried
		n.fromFiles[v.name] = value
		r.Changed = append(r.Changed, v.name)
		mail = mail || v.name == "SMTP_URL"
	}
	if mail { // reading the server's address has forgotten the sender
		for _, v := range variables() {
			if from := files.get(v.name); v.name == "MAIL_FROM" && r.Problems[v.name] == nil {
				if err := v.set(&reader{&n, files.get}, from); err != nil {
					r.Problems[v.name] = err
					n.SMTP = c.SMTP
				}
			}
		}
	}
	if _, err := n.Operator.Input(); err != nil {
		n.Operator = c.Operator
		for _, name := range r.Changed {
			if strings.HasPrefix(name, operatorPrefix) {
				r.Problems[name] = err
			}
		}
	}
	return r
}

// Keep takes the values of before for variables that could not be put to use.
func (r *Reread) Keep(c *Config, names ...string) {
	for _, name := range names {
		if before, has := c.fromFiles[name]; has {
			r.fromFiles[name] = before
		}
	}
}

// WatchedFiles are the files whose content a running process takes over when it changes.
func (c *Config) WatchedFiles() []string {
	var out []string
	dir := c.env("CREDENTIALS_DIRECTORY")
	for _, name := range slices.Sorted(maps.Keys(c.fromFiles)) {
		if path := c.env(name + fileSuffix); path != "" {
			out = append(out, path)
		} else if dir != "" {
			out = append(out, filepath.Join(dir, credentialPrefix+name))
		}
	}
	for _, address := range []string{c.DatabaseURL, c.DirectURL, c.ReplicaURL} {
		if u, err := url.Parse(address); err == nil {
			for _, name := range []string{"sslcert", "sslkey", "sslrootcert", "passfile"} {
				if path := u.Query().Get(name); path != "" && path != "system" {
					out = append(out, path)
				}
			}
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(out)))
}
