package views

import (
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/models"
)

// Users lists the users of the server, and open invitations.
type Users struct {
	Page
	List        []*models.User
	Invitations []*models.Invitation
}

// User is a user as administrators see them. Its form has role.
type User struct {
	Page
	User     *models.User
	Form     Form
	Sessions []*models.Session
	Current  uuid.UUID // the viewer's session
	MayOwn   bool      // the viewer is an owner

	Passkeys   []*models.Passkey
	Identities []*models.Identity // accounts at login providers
}

// Members lists who has a role in a tenant, and open invitations to it.
type Members struct {
	Page
	List        []*models.User
	Invitations []*models.Invitation
}

// NewInvitation is the form for an invitation. It has email, role and, without a tenant, tenant_id.
type NewInvitation struct {
	Page
	Form   Form
	MayOwn bool // the viewer is an owner
}

// Invited shows the link of a new invitation, this once.
type Invited struct {
	Page
	Invitation *models.Invitation
	Link       string
	Next       string // where to go on
}

// Invite is the page behind the link of an invitation. Its form has name and password.
type Invite struct {
	Page
	Invitation *models.Invitation
	Action     string
	Form       Form
	Ways       LoginWays
}

// Choose lists the tenants of somebody who has no role for the whole server.
type Choose struct {
	Page
	List []models.Member
}

// Account is the viewer's own. Profile has name and email, Password has present and password.
type Account struct {
	Page
	User              *models.User
	Sessions          []*models.Session
	Current           uuid.UUID          // the viewer's session
	NoPassword        bool               // none is taken of the viewer
	Provider          string             // by which people log in, as they call it; empty for none
	Issuer            string             // of that provider
	Identities        []*models.Identity // accounts at login providers that the viewer is connected with
	Passkeys          []*models.Passkey
	PasskeysOff       string // why the server takes none, in a sentence; empty where it does
	Profile, Password Form
}

// Factor is the viewer's second factor. Its form has code.
type Factor struct {
	Page
	Setup    *models.FactorSetup // to be enabled; nil when it is on
	Left     int                 // recovery codes that were not used
	Required bool                // by the server
	Passkeys bool                // one is enough
	Form     Form
}

// RecoveryCodes shows new recovery codes, this once.
type RecoveryCodes struct {
	Page
	Codes []string
}

// LoginCode is the second step of a login. Its form has code and return.
type LoginCode struct {
	Page
	Form    Form
	Code    bool // of an app
	Passkey bool // in its place
}

// NewPasskey adds a passkey of the viewer's. Its form has name, and credential, which the script fills in.
type NewPasskey struct {
	Page
	Form Form
	Off  string // why the server takes none; empty where it does
}

// ConfirmLogin asks for the password once more, or leads to the provider. Its form has password and return.
type ConfirmLogin struct {
	Page
	Form Form
	Ways LoginWays
}

// UsersURL and its like are the pages about users, UserURL that of one, or with tail an action on them: "role", "delete".
func UsersURL() string { return "/users" }
func UserURL(id string, tail ...string) string {
	return path(append([]string{"users", id}, tail...)...)
}
func MembersURL(tenant string) string       { return path("t", tenant, "members") }
func NewInvitationURL(tenant string) string { return under(tenant, "invitations", "new") }
func AccountURL(tail ...string) string {
	return "/" + strings.Join(append([]string{"account"}, tail...), "/")
}

// NewPasskeyURL is the page that adds a passkey of the viewer's, PasskeyURL an action on one: "rename", "remove".
func NewPasskeyURL() string                      { return AccountURL("passkeys", "new") }
func PasskeyURL(id, action string) string        { return AccountURL("passkeys", id, action) }
func PasskeyLoginPath() string                   { return "/login/passkey" }
func CodePath() string                           { return "/login/code" }
func ConfirmPath() string                        { return "/confirm" }
func ConfirmByProviderPath() string              { return "/confirm/oidc" }
func ProviderPath() string                       { return "/login/oidc" }
func ProviderReturnPath() string                 { return "/login/oidc/callback" }
func ProviderLogoutPath() string                 { return "/login/oidc/logout" }
func MemberURL(tenant, id, action string) string { return path("t", tenant, "members", id, action) }

// InvitationURL is an action on an invitation: "revoke", "send".
func InvitationURL(tenant, id, action string) string { return under(tenant, "invitations", id, action) }

// InviteURL is the page that the link of an invitation leads to. The token is a part of a URL already.
func InviteURL(token string) string { return "/invite/" + token }

// CodeURL is the second step of a login, which leads to back.
func CodeURL(back string) string { return with(CodePath(), url.Values{"return": {back}}) }

// LoginBackURL is the page of the login, which leads to back.
func LoginBackURL(back string) string { return with(LoginURL(), url.Values{"return": {back}}) }

// ProviderURL begins a login by the provider, which leads to back; ConfirmByProviderURL has somebody who is logged in show there again
// who they are.
func ProviderURL(back string) string { return with(ProviderPath(), url.Values{"return": {back}}) }
func ConfirmByProviderURL(back string) string {
	return with(ConfirmByProviderPath(), url.Values{"return": {back}})
}

// ConfirmURL is the page that asks for the password and leads back.
func ConfirmURL(back string) string { return with(ConfirmPath(), url.Values{"return": {back}}) }

// sessionURL ends a session of a user, or without one of the viewer.
func sessionURL(user string, x *models.Session) string {
	if user == "" {
		return AccountURL("sessions", x.ID(), "end")
	}
	return UserURL(user, "sessions", x.ID(), "end")
}

// roleOptions are the roles for the whole server or a tenant, with what each may do.
var roleOptions = []Option{
	{Value: string(models.RoleOwner), Label: "Owner", Hint: "All, and makes and removes owners."},
	{Value: string(models.RoleAdmin), Label: "Admin", Hint: "All: also keys, topics, secrets, settings and people."},
	{Value: string(models.RoleDeveloper), Label: "Developer", Hint: "Creates and changes destinations, retries, sends test events."},
	{Value: string(models.RoleViewer), Label: "Viewer", Hint: "Looks at everything but secrets, and changes nothing."},
}

var noRole = Option{Value: "none", Label: "No role", Hint: "Sees only the tenants that they are a member of."}

func rolesFor(tenant string, owner bool) (out []Option) {
	for _, o := range roleOptions {
		if o.Value != string(models.RoleOwner) || tenant == "" && owner {
			out = append(out, o)
		}
	}
	return out
}

// roleChoices are what a user's role can become, for this viewer.
func (v User) roleChoices() []Option { return append(rolesFor("", v.MayOwn), noRole) }

// RoleValue is a role in a form.
func RoleValue(r models.Role) string {
	if r == models.RoleNone {
		return noRole.Value
	}
	return string(r)
}

func roleWord(r models.Role) string {
	if r == models.RoleNone {
		return noRole.Label
	}
	return optionLabel(roleOptions, string(r))
}

// memberships says in which tenants somebody has a role.
func memberships(u *models.User) string {
	var out []string
	for i, m := range u.Members {
		if i == 3 {
			out = append(out, "and "+count(len(u.Members)-i)+" more")
			break
		}
		out = append(out, m.Name+" ("+strings.ToLower(roleWord(m.Role))+")")
	}
	return strings.Join(out, ", ")
}

func (v User) facts() []Fact {
	u := v.User
	last := Fact{Label: "Last login", Text: "Never"}
	if u.LastLoginAt != nil {
		last = Fact{Label: "Last login", Time: *u.LastLoginAt}
	}
	return []Fact{{Label: "Email", Text: u.Email, Copy: true}, {Label: "Second factor", Text: factors(u)}, last,
		{Label: "Created", Time: u.CreatedAt}, {Label: "ID", Text: u.ID(), Mono: true, Copy: true}}
}

func onOff(on bool) string {
	if on {
		return "On"
	}
	return "Off"
}

// factors says what a user has beside a password.
func factors(u *models.User) string {
	if u.Passkeys == 0 {
		return onOff(u.SecondFactor)
	}
	return onOff(u.SecondFactor) + ", and " + plural(u.Passkeys, "passkey")
}

// identity is the viewer's account at the present provider; nil for none.
func (v Account) identity() *models.Identity {
	for _, i := range v.Identities {
		if i.Issuer == v.Issuer && v.Provider != "" {
			return i
		}
	}
	return nil
}

// identityURL disconnects an account at a provider from a user, or without one from the viewer.
func identityURL(user string, i *models.Identity) string {
	if user == "" {
		return AccountURL("identities", i.ID(), "disconnect")
	}
	return UserURL(user, "identities", i.ID(), "disconnect")
}

// mailWords say how the mail of an invitation is doing.
func mailWords(m *models.LetterState) Look {
	switch {
	case m == nil:
		return Look{ToneMute, "minus", "Unknown"}
	case m.Status == models.LetterSent:
		return Look{ToneOK, "check", "Sent"}
	case m.Status == models.LetterFailed && m.Tries < 2:
		return Look{ToneBad, "x", "Not sent"}
	case m.Status == models.LetterFailed:
		return Look{ToneBad, "x", "Given up"}
	}
	return Look{ToneInfo, "clock", "Waiting"}
}

// BrowserWords is what people call a browser, by its User-Agent.
func BrowserWords(agent string) string { return browserWords(agent) }

// browserWords is what people call a browser: its name and system, of its User-Agent. What is not known is shown as it is.
func browserWords(agent string) string {
	find := func(list [][2]string) string {
		for _, x := range list {
			if strings.Contains(agent, x[0]) {
				return x[1]
			}
		}
		return ""
	}
	name := find([][2]string{{"Edg", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"}, {"CriOS/", "Chrome"},
		{"HeadlessChrome/", "Chrome"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}})
	system := find([][2]string{{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Mac OS X", "macOS"},
		{"CrOS", "ChromeOS"}, {"Linux", "Linux"}})
	switch {
	case agent == "":
		return "Unknown browser"
	case name == "":
		return shorten(agent, 60)
	case system == "":
		return name
	}
	return name + " on " + system
}

var invitationLabels = []Label{{"email", "Email"}, {"role", "Role"}, {"tenant_id", "Tenant ID"}}

var codeLabels = []Label{{"code", "Code"}}

var passkeyLabels = []Label{{"name", "Name"}}

var inviteLabels = []Label{{"name", "Your name"}, {"password", "Password"}}

var accountLabels = []Label{{"name", "Name"}, {"email", "Email"}, {"present", "Present password"}, {"password", "New password"}}

// problem is that of the form which was refused.
func (v Account) problem() Form {
	if v.Profile.Err != nil {
		return v.Profile
	}
	return v.Password
}

// home is where the viewer's own tenants are chosen.
func (v Viewer) home() string {
	if v.OneTenant {
		return HomeURL()
	}
	return TenantsURL()
}

// back is the list that the form belongs to.
func (v NewInvitation) back() string {
	if v.Tenant == "" {
		return UsersURL()
	}
	return MembersURL(v.Tenant)
}

func tenantOrServer(i *models.Invitation) string {
	if i.TenantKey == nil {
		return "Whole server"
	}
	return i.TenantName
}
