package views

// Setup is the page on which the first user is made. Its form has code, name, email and password.
type Setup struct {
	Page
	Form Form
}

// Login is the page on which a user logs in. Its form has email, password and return.
type Login struct {
	Page
	Form   Form
	Ways   LoginWays
	Notice string // why the page is shown: "Your session has ended."; may be empty
}

// LoginWays are the ways to show who one is: a password, the provider, or both.
type LoginWays struct {
	Password bool
	Provider string // as people call it; empty for none
	URL      string // leads there
	Away     bool   // it does not answer
	Passkey  bool   // by a passkey
}

var setupLabels = []Label{{"code", "Setup code"}, {"name", "Your name"}, {"email", "Email"}, {"password", "Password"}}

var loginLabels = []Label{{"email", "Email"}, {"password", "Password"}}
