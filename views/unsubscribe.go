package views

import "github.com/waybill-dev/waybill/models"

// Unsubscribe is the page behind the link in mails that ends them.
type Unsubscribe struct {
	Page
	*models.Unsubscribing
	Action string // where the form goes
}
