package pages

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

func (a *Pages) topicRetentionPage(ctx context.Context, p *pageCtx) error {
	if err := api.OperatorsOnly(p.call); err != nil {
		return err
	}
	rules, err := a.Store.TopicRetention(ctx)
	if err != nil {
		return err
	}
	return a.showTopicRetention(ctx, p, views.Form{Values: map[string][]string{"topics": {views.RetentionText(rules)}}})
}

func (a *Pages) showTopicRetention(ctx context.Context, p *pageCtx, form views.Form) error {
	v := views.TopicRetention{Page: p.frame("Retention by topic", views.SectionServer), Form: form, Days: a.Store.RetentionDays()}
	v.Invalid = form.Err != nil
	v.Crumbs = []views.Crumb{{Label: "Server health", URL: views.ServerURL()}}
	v.API = apiCallOf("PUT", `{"topics": [{"topic": "login.*", "days": 7}]}`, "/server/topic-retention")
	return p.render(ctx, listStatus(form.Err), views.TopicRetentionPage(v))
}

func (a *Pages) saveTopicRetention(ctx context.Context, p *pageCtx) error {
	form := p.form()
	rules, problem := retentionRules(form.Value("topics"))
	var err error
	if problem != "" {
		err = models.Invalid("topics", problem)
	} else {
		req := &api.TopicRetentionRequest{}
		req.Body.Topics = rules
		_, err = a.PutTopicRetention(ctx, p.call, req)
	}
	if err != nil {
		if form.Err = ofRules(api.Refusal(err), "topics", &rules); form.Err == nil {
			return err
		}
		return a.showTopicRetention(ctx, p, form)
	}
	return p.done(views.TopicRetentionURL(), said("The rules were saved. They are applied within ten minutes."))
}

// retentionRules reads rules as people write them: a topic and its days a line, "order.*: 7". problem says what is wrong.
func retentionRules(text string) (rules []models.TopicRetention, problem string) {
	rules = []models.TopicRetention{}
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == ',' }) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		i := strings.LastIndex(line, ":") // topics may have some, too
		if i < 0 {
			return rules, fmt.Sprintf("%q must be a topic and its days, like order.*: 7", line)
		}
		days, err := strconv.Atoi(strings.TrimSpace(line[i+1:]))
		if err != nil {
			return rules, fmt.Sprintf("%q must end with a whole number of days, like order.*: 7", line)
		}
		rules = append(rules, models.TopicRetention{Topic: strings.TrimSpace(line[:i]), Days: days})
	}
	return rules, ""
}

var ruleField = regexp.MustCompile(`^(.+)\[(\d+)\]\.(topic|days)$`)

// ofRules says problems of single rules at the control that has all of them.
func ofRules(e *models.Error, control string, rules *[]models.TopicRetention) *models.Error {
	if e == nil || e.Fields == nil || rules == nil {
		return e
	}
	out := *e
	out.Fields = map[string]string{}
	var said []string
	for field, message := range e.Fields {
		m := ruleField.FindStringSubmatch(field)
		if m == nil || m[1] != control {
			out.Fields[field] = message
			continue
		}
		if i, err := strconv.Atoi(m[2]); err == nil && i < len(*rules) {
			said = append(said, fmt.Sprintf("%s: %s %s", (*rules)[i].Topic, m[3], message))
		}
	}
	if len(said) > 0 {
		slices.Sort(said)
		out.Fields[control] = "has rules that cannot be: " + strings.Join(said, "; ")
	}
	return &out
}
