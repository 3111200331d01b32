package outbound

import (
	"net/url"
	"regexp"
	"strings"
)

// hasScheme is what a text begins with that is read as a URL.
var hasScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// MaskURL is a URL as everybody may see it: without the password of its user, and without the values of query parameters that
// sound like credentials (Sensitive, and what signs a URL). It is the one rule for receipts, configuration, the audit log, the
// feed, exports and mails. A text that is no URL, and a URL without such parts, is returned as it is.
func MaskURL(raw string) string {
	scheme := hasScheme.FindString(raw)
	if scheme == "" {
		return raw
	}
	rest := raw[len(scheme):]
	rest, fragment, hasFragment := strings.Cut(rest, "#")
	rest, query, hasQuery := strings.Cut(rest, "?")
	end := strings.IndexByte(rest, '/')
	if end < 0 {
		end = len(rest)
	}
	if at := strings.LastIndexByte(rest[:end], '@'); at >= 0 {
		user, password, has := strings.Cut(rest[:at], ":")
		switch {
		case has && password != "":
			user += ":" + masked
		case has:
			user += ":"
		case user != "":
			user = masked // a token that stands for the user, as in https://token@host
		}
		rest = user + rest[at:]
	}
	if hasQuery {
		rest += "?" + maskQuery(query)
	}
	if hasFragment {
		rest += "#" + fragment
	}
	return scheme + rest
}

// UnmaskURL puts back into a URL what MaskURL took out of an older one, for somebody who sends back what they have been shown
// and may have changed something else. It does so only for the same scheme, host and port: nobody gets a secret sent to a place
// of their choice without knowing it. left says that something masked is left in the result.
func UnmaskURL(old, raw string) (plain string, left bool) {
	if raw == MaskURL(old) {
		return old, false
	}
	was, err := url.Parse(old)
	is, err2 := url.Parse(raw)
	if err != nil || err2 != nil || !hasScheme.MatchString(raw) {
		return raw, isMaskedURL(raw)
	}
	if strings.EqualFold(was.Scheme, is.Scheme) && strings.EqualFold(was.Host, is.Host) {
		raw = restore(was, is, raw)
	}
	return raw, isMaskedURL(raw)
}

// restore puts the password and the parameters of was into is, where they are masked there.
func restore(was, is *url.URL, raw string) string {
	changed := false
	if is.User != nil && was.User != nil && is.User.String() == maskedUser(was.User) {
		is.User, changed = was.User, true
	}
	values := map[string][]string{}
	for p := range strings.SplitSeq(was.RawQuery, "&") {
		name, value, _ := strings.Cut(p, "=")
		values[name] = append(values[name], value)
	}
	parts := strings.Split(is.RawQuery, "&")
	for i, p := range parts {
		name, value, _ := strings.Cut(p, "=")
		old := values[name]
		if len(old) == 0 {
			continue
		}
		values[name] = old[1:] // a name may be there several times
		if value == masked {
			parts[i], changed = name+"="+old[0], true
		}
	}
	if !changed {
		return raw
	}
	is.RawQuery = strings.Join(parts, "&")
	return is.String()
}

// maskedUser is what MaskURL leaves of a user and password, as net/url prints it.
func maskedUser(u *url.Userinfo) string {
	shown, err := url.Parse(MaskURL("x://" + u.String() + "@h"))
	if err != nil || shown.User == nil {
		return ""
	}
	return shown.User.String()
}

// urlSecrets are the values in a query that MaskURL hides, as receivers may repeat them: escaped and not.
func urlSecrets(query string) (secrets []string) {
	for p := range strings.SplitSeq(query, "&") {
		if maskQuery(p) == p {
			continue
		}
		_, value, _ := strings.Cut(p, "=")
		secrets = append(secrets, value)
		if plain, err := url.QueryUnescape(value); err == nil && plain != value {
			secrets = append(secrets, plain)
		}
	}
	return secrets
}

// isMaskedURL reports whether a URL has something masked in it.
func isMaskedURL(raw string) bool {
	if !hasScheme.MatchString(raw) || !strings.Contains(raw, masked) {
		return false
	}
	u, err := url.Parse(raw)
	if err != nil {
		return true
	}
	if u.User != nil {
		if password, _ := u.User.Password(); password == masked || u.User.Username() == masked {
			return true
		}
	}
	for p := range strings.SplitSeq(u.RawQuery, "&") {
		if _, value, _ := strings.Cut(p, "="); value == masked {
			return true
		}
	}
	return false
}
