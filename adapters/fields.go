package adapters

import (
	"fmt"
	"regexp"
	"sort"
	"strings"
)

// FieldSet is a list of fields with their patterns prepared: what Check holds values against.
type FieldSet struct {
	part, owner string
	fields      []Field
	patterns    map[string]*regexp.Regexp
}

// NewFieldSet prepares fields. Problems are told of keys like "config.url", where part is the first half; owner says in
// the plural what has these fields: "webhook destinations". It panics on a defect: a pattern that does not compile, a
// select without options.
func NewFieldSet(part, owner string, fields []Field) *FieldSet {
	s := &FieldSet{part: part, owner: owner, fields: fields, patterns: map[string]*regexp.Regexp{}}
	for _, f := range fields {
		if f.Pattern != "" {
			s.patterns[f.Key] = regexp.MustCompile(`\A(?:` + f.Pattern + `)\z`)
		}
		if f.Type == FieldSelect && len(f.Options) == 0 {
			panic(fmt.Sprintf("adapters: field %q of %s is a select without options", f.Key, owner))
		}
	}
	return s
}

// Check fills defaults into values, trims them, and reports every problem: unknown keys, missing required fields, wrong
// lengths, patterns and choices.
func (s *FieldSet) Check(values *map[string]string) (errs []FieldError) {
	if *values == nil {
		*values = map[string]string{}
	}
	vals := *values
	known := map[string]bool{}
	for _, f := range s.fields {
		known[f.Key] = true
		v, given := vals[f.Key]
		if f.Type != FieldMap && !f.Sensitive {
			if t := strings.TrimSpace(v); t != v {
				v = t
				vals[f.Key] = t
			}
		}
		if v == "" {
			if f.Default != "" {
				vals[f.Key] = f.Default
			} else if f.Required {
				errs = append(errs, FieldError{s.part + "." + f.Key, "is required"})
			} else if given {
				delete(vals, f.Key)
			}
			continue
		}
		if msg := s.checkValue(f, v); msg != "" {
			errs = append(errs, FieldError{s.part + "." + f.Key, msg})
		}
	}
	var unknown []string
	for k := range vals {
		if !known[k] {
			unknown = append(unknown, k)
		}
	}
	sort.Strings(unknown)
	for _, k := range unknown {
		errs = append(errs, FieldError{s.part + "." + k, "is not a field of " + s.owner})
	}
	return errs
}

func (s *FieldSet) checkValue(f Field, v string) string {
	maxLen := f.MaxLength
	if maxLen == 0 {
		maxLen = 4096
	}
	switch {
	case strings.ContainsRune(v, 0):
		return "must not contain a NUL character"
	case len(v) > maxLen:
		return fmt.Sprintf("must be at most %d characters long", maxLen)
	case len(v) < f.MinLength:
		return fmt.Sprintf("must be at least %d characters long", f.MinLength)
	}
	switch f.Type {
	case FieldCheckbox:
		if v != "true" && v != "false" {
			return "must be true or false"
		}
	case FieldSelect:
		for _, o := range f.Options {
			if o.Value == v {
				return ""
			}
		}
		if f.PatternHelp != "" {
			return f.PatternHelp
		}
		var names []string
		for _, o := range f.Options {
			names = append(names, o.Value)
		}
		return "must be one of " + strings.Join(names, ", ")
	}
	if re := s.patterns[f.Key]; re != nil && !re.MatchString(v) {
		if f.PatternHelp != "" {
			return f.PatternHelp
		}
		return "must match " + f.Pattern
	}
	return ""
}
