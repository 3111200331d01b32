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
	Notice string // why the page is shown: "Your session has ended."; may be empty
}

var setupLabels = []Label{{"code", "Setup code"}, {"name", "Your name"}, {"email", "Email"}, {"password", "Password"}}

var loginLabels = []Label{{"email", "Email"}, {"password", "Password"}}
