package app

import (
	"net/url"
	"time"

	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// accountNews are the sentences of letters about what has changed at somebody's account, by the action of the audit log.
var accountNews = map[string]func(models.LetterData) string{
	"user.passkey_add": func(d models.LetterData) string {
		return "The passkey “" + d.Passkey + "” was added to your account."
	},
	"user.passkey_remove": passkeyRemoved,
	"user.password": func(models.LetterData) string {
		return "Your password was changed, and your other sessions have ended."
	},
	"user.update": func(d models.LetterData) string {
		return "The e-mail address of your account was changed to " + d.Email + "."
	},
	"user.factor_enable": func(models.LetterData) string { return "Logins to your account ask for a code of your app now." },
	"user.factor_remove": func(models.LetterData) string { return "Logins to your account ask for no code of an app any more." },
	"user.disconnect": func(d models.LetterData) string {
		return "Your account is not connected with " + d.Issuer + " any more."
	},
}

func passkeyRemoved(d models.LetterData) string {
	if d.Passkey == "" {
		return "All passkeys were removed from your account."
	}
	return "The passkey “" + d.Passkey + "” was removed from your account."
}

// compose writes a letter.
func (a *App) compose(l *models.Letter) notify.Letter {
	if l.Invitation != nil {
		return a.invitationLetter(l)
	}
	text := "Your account was changed (" + l.Kind + ")."
	if say := accountNews[l.Kind]; say != nil {
		text = say(l.Data)
	}
	by := l.Data.Actor
	if by == "" {
		by = "Yourself"
	}
	facts := []notify.MailFact{{Label: "When", Value: mailTime(l.CreatedAt)}, {Label: "By", Value: by}}
	if l.Data.IP != "" {
		facts = append(facts, notify.MailFact{Label: "From the address", Value: l.Data.IP})
	}
	return notify.Letter{ID: l.ID(), To: l.Email, At: l.CreatedAt, Subject: text,
		Mail: notify.Mail{State: "Your account", Tone: notify.Calm, Summary: text,
			Advice: "If you do not know of this, tell an administrator of the server, and look at your sessions.", Facts: facts,
			Links: []notify.MailLink{{Label: "Your account", URL: a.Cfg.BaseURL + views.AccountURL()}},
			Why:   "because it concerns how you log in"}}
}

func (a *App) invitationLetter(l *models.Letter) notify.Letter {
	i := l.Invitation
	link := a.Cfg.BaseURL + views.InviteURL(url.PathEscape(l.Token))
	return notify.Letter{ID: l.ID(), To: i.Email, At: l.CreatedAt, Subject: i.CreatedBy + " invites you to Waybill",
		Mail: notify.Mail{State: "Invitation", Tone: notify.Calm,
			Summary: i.CreatedBy + " invites you to Waybill, as " + string(i.Role) + " of " + i.Place() + ".",
			Advice:  "Open the link and choose a password. It can be used once.",
			Facts:   []notify.MailFact{{Label: "Valid until", Value: mailTime(i.ExpiresAt)}},
			Links:   []notify.MailLink{{Label: "Accept the invitation", URL: link}},
			Why:     "because somebody there entered this address"}}
}

func mailTime(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04") + " UTC" }
