package views

import "github.com/waybill-dev/waybill/models"

// Portal is the page behind a portal link.
type Portal struct {
	Page
	Tenant *models.Tenant
	Action string // where the form goes
}
