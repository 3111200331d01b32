package models

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
)

// Unsubscribe says that whoever has an address does not want a channel's notices any more.
type Unsubscribe struct {
	ChannelKey int64
	Address    string // in lower case where it is stored; as the channel names it in Channel.Unsubscribed
	CreatedAt  time.Time
}

// TableName implements gorm's Tabler.
func (Unsubscribe) TableName() string { return "channel_unsubscribes" }

// addUnsubscribed fills in which of the channels' recipients have unsubscribed.
func addUnsubscribed(db *gorm.DB, channels ...*Channel) error {
	byKey := map[int64]*Channel{}
	for _, c := range channels {
		if len(c.Recipients) > 0 {
			byKey[c.Key] = c
		}
	}
	if len(byKey) == 0 {
		return nil
	}
	keys := make([]int64, 0, len(byKey))
	for k := range byKey {
		keys = append(keys, k)
	}
	var list []Unsubscribe
	if err := db.Session(&gorm.Session{NewDB: true}).Where("channel_key in ?",
		keys).Order("created_at, address").Find(&list).Error; err != nil {
		return err
	}
	for _, u := range list {
		c := byKey[u.ChannelKey]
		for _, r := range c.Recipients {
			if strings.EqualFold(r, u.Address) {
				c.Unsubscribed = append(c.Unsubscribed, Unsubscribe{u.ChannelKey, r, u.CreatedAt})
			}
		}
	}
	return nil
}

// names reports whether an address is among the channel's. Case does not count, for hardly any mail server tells addresses
// apart by it.
func (c *Channel) names(address string) bool {
	return slices.ContainsFunc(c.Recipients, func(r string) bool { return strings.EqualFold(r, address) })
}

// Silent lists the recipients that are not sent to, because they have unsubscribed.
func (c *Channel) Silent() []string {
	var out []string
	for _, u := range c.Unsubscribed {
		out = append(out, u.Address)
	}
	return out
}

// AllSilent reports whether all recipients of the channel have unsubscribed, so that it notifies nobody.
func (c *Channel) AllSilent() bool {
	return len(c.Recipients) > 0 && len(c.Unsubscribed) == len(c.Recipients)
}

// SilentNote says in a log who was left out; empty for nobody.
func (c *Channel) SilentNote() string {
	list := c.Silent()
	switch {
	case len(list) == 0:
		return ""
	case len(list) == 1:
		return "Not sent to " + list[0] + ", who has unsubscribed."
	}
	return "Not sent to " + strings.Join(list, ", ") + ", who have unsubscribed."
}

const unsubscribePurpose = "unsubscribe"

// UnsubscribeToken signs the wish of an address to hear no more of a channel. It is a part of a URL, and does not expire:
// old mails are searched for it.
func (s *Store) UnsubscribeToken(channelID, address string) string {
	body := channelID + "\n" + address
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(body)) + "." + encode(unsubscribeMAC(s.Keys.Derive(unsubscribePurpose), body))
}

func unsubscribeMAC(key []byte, body string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(body))
	return m.Sum(nil)[:16]
}

// readUnsubscribe returns what a token was made for.
func (s *Store) readUnsubscribe(token string) (channelID, address string, ok bool) {
	left, right, _ := strings.Cut(token, ".")
	body, err := base64.RawURLEncoding.DecodeString(left)
	mac, err2 := base64.RawURLEncoding.DecodeString(right)
	if err != nil || err2 != nil {
		return "", "", false
	}
	for _, key := range s.Keys.DeriveAll(unsubscribePurpose) {
		if hmac.Equal(mac, unsubscribeMAC(key, string(body))) {
			return strings.Cut(string(body), "\n")
		}
	}
	return "", "", false
}

// Unsubscribing is what the link in a mail is about.
type Unsubscribing struct {
	Channel *Channel // nil when the channel names the address no more, or was deleted: there is nothing to end
	Address string
	Done    bool // it has unsubscribed
}

// Unsubscribing reads a token. A wrong one is KindNotFound.
func (s *Store) Unsubscribing(ctx context.Context, token string) (*Unsubscribing, error) {
	id, address, ok := s.readUnsubscribe(token)
	if !ok {
		return nil, notFound("This link is not one of this server's. Copy the whole link from the mail.")
	}
	u := &Unsubscribing{Address: address}
	var owner int64
	var tenant *string
	err := s.pool.QueryRow(ctx, `select c.owner_key, t.id from channels c left join tenants t on t.key = c.owner_key
		where c.id = $1 and c.deleted_at is null and (c.owner_key = 0 or t.deleted_at is null)`, id).Scan(&owner, &tenant)
	if errors.Is(err, pgx.ErrNoRows) {
		return u, nil
	}
	if err != nil {
		return nil, err
	}
	ownerID := ""
	if tenant != nil {
		ownerID = *tenant
	}
	c, err := s.channel(s.DB.WithContext(ctx), owner, ownerID, id)
	if err != nil || !c.names(address) {
		return u, err
	}
	u.Channel = c
	u.Done = slices.ContainsFunc(c.Unsubscribed, func(x Unsubscribe) bool { return strings.EqualFold(x.Address, address) })
	return u, nil
}

// Unsubscribe ends a channel's notices to the address that the token names. Doing it again changes nothing.
func (s *Store) Unsubscribe(ctx context.Context, token string) (*Unsubscribing, error) {
	u, err := s.Unsubscribing(ctx, token)
	if err != nil || u.Channel == nil || u.Done {
		return u, err
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		tag, err := tx.Exec(ctx, "insert into channel_unsubscribes (channel_key, address) values ($1, lower($2)) on conflict do nothing",
			u.Channel.Key, u.Address)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return noteChannel(ctx, tx, u.Channel.OwnerKey, AuditEntry{Actor: u.Address, ActorKind: ActorRecipient,
			Action: "channel.unsubscribe",
			Object: u.Channel.ID, Detail: map[string]any{"address": u.Address}})
	})
	u.Done = err == nil
	return u, err
}

// Subscribe sends a channel's notices again to an address that had unsubscribed.
func (s *Store) Subscribe(ctx context.Context, scope Scope, tenantID, channelID, address string) (*Channel, error) {
	c, err := s.Channel(ctx, scope, tenantID, channelID)
	if err != nil {
		return nil, err
	}
	if !c.names(address) {
		return nil, Invalid("address", fmt.Sprintf("%q is not one of the channel's addresses", cut(address, 80)))
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.Exec(ctx, "delete from channel_unsubscribes where channel_key = $1 and address = lower($2)", c.Key,
			address); err != nil {
			return err
		}
		return noteChannel(ctx, tx, c.OwnerKey, AuditEntry{Action: "channel.subscribe", Object: c.ID,
			Detail: map[string]any{"address": address}})
	})
	if err != nil {
		return nil, err
	}
	return s.Channel(ctx, scope, tenantID, channelID)
}
