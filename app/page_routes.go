package app

import (
	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
)

// publicPages lists the pages for those who have not logged in: /setup, /login, /p/:token.
func (a *App) publicPages() []pageRoute { return nil }

// pageRoutes lists the dashboard's pages and actions.
func (a *App) pageRoutes() []pageRoute { return nil }

// errorPage shows an error as a page.
func (a *App) errorPage(c *fiber.Ctx, e *models.Error, _ string) error {
	return c.Status(e.Status()).SendString(e.Message)
}
