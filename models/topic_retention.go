package models

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// TopicRetention says for how long the data of some events is kept.
type TopicRetention struct {
	Topic string `json:"topic" doc:"A topic, or a pattern as subscriptions have them: 'order.*'."`
	Days  int    `json:"days" doc:"After so many days the data of their events is erased; at most the server's retention."`
}

// String is a rule as people write it: "order.*: 7".
func (r TopicRetention) String() string { return fmt.Sprintf("%s: %d", r.Topic, r.Days) }

// topicRetentionSetting is the server's own rules among its settings.
const topicRetentionSetting = "topic_retention"

// maxTopicRetentions is how many rules a tenant, and the server, may have.
const maxTopicRetentions = 100

// checkTopicRetention reports what is wrong with rules. most is the server's retention in days.
func checkTopicRetention(field string, rules []TopicRetention, most int, bad problems) {
	if len(rules) > maxTopicRetentions {
		bad.add(field, fmt.Sprintf("must be at most %d rules", maxTopicRetentions))
		return
	}
	seen := map[string]bool{}
	for i, r := range rules {
		at := fmt.Sprintf("%s[%d].", field, i)
		switch checkTopic(at+"topic", strings.ReplaceAll(r.Topic, "*", "x"), bad); {
		case r.Topic == "":
			bad[at+"topic"] = "is required"
		case strings.Count(r.Topic, "*") > maxStars:
			bad.add(at+"topic", fmt.Sprintf("must have at most %d *", maxStars))
		case seen[r.Topic]:
			bad.add(at+"topic", fmt.Sprintf("%q has a rule already", cut(r.Topic, 80)))
		}
		if seen[r.Topic] = true; r.Days < 1 || r.Days > most {
			bad.add(at+"days", fmt.Sprintf("must be a whole number between 1 and %d, the server's retention", most))
		}
	}
}

// RetentionDays is the server's retention.
func (s *Store) RetentionDays() int { return int(s.Rules().Retention.Hours() / 24) }

// TopicRetention returns the server's rules, which hold for all tenants.
func (s *Store) TopicRetention(ctx context.Context) ([]TopicRetention, error) {
	rules := []TopicRetention{}
	_, err := s.root().Setting(ctx, topicRetentionSetting, &rules)
	return rules, err
}

// SetTopicRetention replaces the server's rules.
func (s *Store) SetTopicRetention(ctx context.Context, rules []TopicRetention) error {
	s = s.root()
	bad := problems{}
	if checkTopicRetention("topics", rules, s.RetentionDays(), bad); len(bad) > 0 {
		return bad.err()
	}
	if rules == nil {
		rules = []TopicRetention{}
	}
	return s.InTx(ctx, func(tx *Tx) error {
		var before []TopicRetention
		if _, err := tx.Pgx.Exec(ctx, "insert into settings (key, value) values ($1, '[]') on conflict do nothing", topicRetentionSetting); err != nil {
			return err
		}
		if err := tx.Pgx.QueryRow(ctx, "select value from settings where key = $1 for update", topicRetentionSetting).Scan(&before); err != nil {
			return err
		}
		if _, err := tx.Pgx.Exec(ctx, "update settings set value = $2 where key = $1", topicRetentionSetting, rules); err != nil {
			return err
		}
		old, now := newSnapshot(), newSnapshot()
		old.set("topics", ruleTexts(&before))
		now.set("topics", ruleTexts(&rules))
		if changes := old.changes(now); len(changes) > 0 {
			return tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Action: "retention.update", Changes: changes})
		}
		return nil
	})
}

// ruleTexts are rules for the audit log; nil for none.
func ruleTexts(rules *[]TopicRetention) []string {
	if rules == nil {
		return nil
	}
	out := make([]string, len(*rules))
	for i, r := range *rules {
		out[i] = r.String()
	}
	return out
}

// topicKeeping is a walk through the events of a tenant, or of all, for the rules of so many days.
type topicKeeping struct {
	scope    Scope
	owner    int64 // of the mark: a tenant's key, 0 for the whole server
	days     int
	patterns []string // sorted
}

// byDays groups rules: one walk finds what all those of so many days are about.
func byDays(scope Scope, owner int64, rules []TopicRetention) []*topicKeeping {
	var out []*topicKeeping
	for _, r := range rules {
		i := slices.IndexFunc(out, func(k *topicKeeping) bool { return k.days == r.Days })
		if i < 0 {
			i = len(out)
			out = append(out, &topicKeeping{scope: scope, owner: owner, days: r.Days})
		}
		out[i].patterns = append(out[i].patterns, r.Topic)
	}
	slices.SortFunc(out, func(a, b *topicKeeping) int { return a.days - b.days })
	for _, k := range out {
		slices.Sort(k.patterns)
	}
	return out
}

// why is what is said of an event that is erased because of its topic.
func (k *topicKeeping) why(topic string) string {
	i := slices.IndexFunc(k.patterns, func(p string) bool { return Subscribes([]string{p}, topic) })
	whose := "the tenant's"
	if k.owner == 0 {
		whose = "the server's"
	}
	return fmt.Sprintf("Erased after %s, as %s rule for the topic %s asks for.", countOf(k.days, "day", "days"), whose, k.patterns[max(i, 0)])
}

// until is before when events must have been received for their time to be over.
func (k *topicKeeping) until(now time.Time) time.Time {
	return now.Add(-time.Duration(k.days) * 24 * time.Hour)
}
