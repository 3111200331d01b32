package notify_test

import (
	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/views/emails"
)

// The mails that tests look at are those that users get. What draws them lies above this package.
func init() { notify.RenderMailForTests = emails.Render }
