package models

import "context"

// removeFactor takes a user's second factor away.
func removeFactor(ctx context.Context, tx *Tx, u *User) error {
	if _, err := tx.Exec(ctx, "update users set totp_secret = null, totp_enabled_at = null where id = $1", u.Key); err != nil {
		return err
	}
	return tx.Audit(ctx, u.entry("user.factor_remove"))
}
