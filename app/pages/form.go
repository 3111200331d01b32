package pages

import (
	"net/url"
	"strings"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// form is what somebody typed into a form and sent.
func (p *pageCtx) form() views.Form {
	values := map[string][]string{}
	for k, v := range p.Request().PostArgs().All() {
		values[string(k)] = append(values[string(k)], string(v))
	}
	return views.Form{Values: values}
}

// query is the state of a list as it is in the address.
func (p *pageCtx) query() url.Values {
	q := url.Values{}
	for k, v := range p.Context().QueryArgs().All() {
		q.Add(string(k), string(v))
	}
	return q
}

// refused is the frame of a page with a refused form.
func refused(f views.Page) views.Page {
	f.Invalid = true
	return f
}

// status is that of a page with a form, which with a problem says so, and when to try again.
func (p *pageCtx) status(f *views.Page, problem *models.Error) int {
	if problem != nil {
		*f = refused(*f)
		api.SayWhen(p.Ctx, problem)
	}
	return listStatus(problem)
}

// said is a flash message about something that went well.
func said(text string) *views.Flash { return &views.Flash{Tone: views.ToneOK, Text: text} }

// words cuts a list that somebody typed, by commas, spaces or lines.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' })
}
