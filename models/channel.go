package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// Channel is where notices go: a mailbox, a chat, a phone, a service.
type Channel struct {
	Key         int64 `gorm:"primaryKey"`
	OwnerKey    int64 // a tenant's key; 0 for the operators
	ID          string
	Name        string
	Type        string
	Config      map[string]string `gorm:"serializer:json"`
	SealedCreds []byte            `gorm:"column:secrets"`
	DigestAt    *time.Time
	Version     int64 `gorm:"default:1"` // rises with every change
	CreatedAt   time.Time
	UpdatedAt   time.Time
	DeletedAt   *time.Time

	OwnerID string            `gorm:"-"` // the tenant's public id; empty for the operators
	Secrets map[string]string `gorm:"-"` // in clear text; never shown but by Shown
	Target  string            `gorm:"-"` // where notices go, in one line

	Recipients   []string      `gorm:"-"` // the addresses among it that may unsubscribe; nil for kinds without
	Unsubscribed []Unsubscribe `gorm:"-"` // those of them that have
	Changes      []Change      `gorm:"-"` // what the change that returned it has altered; nil otherwise
}

// ChannelInput are the fields of a channel that a caller may set; as a merge patch (RFC 7396), nil fields stay as they are. Config
// holds secrets too.
type ChannelInput struct {
	Name   *string `json:"name" doc:"For people."`
	Type   *string `json:"type" api:"schema=ChannelType" doc:"Cannot be changed."`
	Config Values  `json:"config" doc:"Settings of the type, by key."`
}

// Shown are the channel's settings as everybody may see them, secrets masked. With secrets, the ones that the owner shares
// with the receiver (a signing secret) are in full.
func (c *Channel) Shown(secrets bool) map[string]string {
	out := map[string]string{}
	for k, v := range c.Config {
		out[k] = outbound.MaskURL(v)
	}
	t := notify.Lookup(c.Type)
	for k, v := range c.Secrets {
		out[k] = mask(v)
		if f := t.Secret(k); f != nil && f.Shared && secrets {
			out[k] = v
		}
	}
	return out
}

// HasSharedSecret reports whether Shown shows a secret to those who may see secrets.
func (c *Channel) HasSharedSecret() bool {
	t := notify.Lookup(c.Type)
	for k, v := range c.Secrets {
		if f := t.Secret(k); v != "" && f != nil && f.Shared {
			return true
		}
	}
	return false
}

func (c *Channel) sealContext() string { return fmt.Sprintf("channel %d %s", c.OwnerKey, c.ID) }

func (s *Store) openChannel(c *Channel, ownerID string) error {
	c.OwnerID, c.Secrets = ownerID, map[string]string{}
	c.Target, c.Recipients = notify.Target(c.Type, c.Config), notify.Recipients(c.Type, c.Config)
	if len(c.SealedCreds) == 0 {
		return nil
	}
	plain, err := s.Keys.Open(c.SealedCreds, c.sealContext())
	if err == nil {
		err = json.Unmarshal(plain, &c.Secrets)
	}
	if err != nil {
		return fmt.Errorf("secrets of channel %s: %w", c.ID, err)
	}
	return nil
}

// owner is the key of whom a scope's rules, channels and alerts belong to: a tenant, or the operators.
func (s Scope) owner() int64 { return s.key }

// ownerOf returns the key and id of the owner that a tenant's id names; empty for the operators.
func (s *Store) ownerOf(ctx context.Context, scope Scope, tenantID string) (key int64, id string, err error) {
	if tenantID == "" {
		if !scope.all {
			return 0, "", notFound("This concerns the whole server.")
		}
		return 0, "", nil
	}
	t, err := s.Tenant(ctx, scope, tenantID)
	if err != nil {
		return 0, "", err
	}
	return t.Key, t.ID, nil
}

// Channels lists the channels of a tenant, or of the operators when the id is empty, oldest first.
func (s *Store) Channels(ctx context.Context, scope Scope, tenantID string) ([]*Channel, error) {
	owner, id, err := s.ownerOf(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	list := []*Channel{}
	if err := s.DB.WithContext(ctx).Where("owner_key = ? and deleted_at is null", owner).Order("key").Find(&list).Error; err != nil {
		return nil, err
	}
	for _, c := range list {
		if err := s.openChannel(c, id); err != nil {
			return nil, err
		}
	}
	return list, addUnsubscribed(s.DB.WithContext(ctx), list...)
}

// Channel returns one channel.
func (s *Store) Channel(ctx context.Context, scope Scope, tenantID, id string) (*Channel, error) {
	owner, ownerID, err := s.ownerOf(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	return s.channel(s.DB.WithContext(ctx), owner, ownerID, id)
}

func (s *Store) channel(db *gorm.DB, owner int64, ownerID, id string) (*Channel, error) {
	var c Channel
	err := db.Where("owner_key = ? and id = ? and deleted_at is null", owner, id).Take(&c).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, notFound("There is no channel %q.", cut(id, 80))
	}
	if err != nil {
		return nil, err
	}
	if err := s.openChannel(&c, ownerID); err != nil {
		return nil, err
	}
	return &c, addUnsubscribed(db, &c)
}

// CreateChannel creates a channel of a tenant, or of the operators when the id is empty.
func (s *Store) CreateChannel(ctx context.Context, scope Scope, tenantID string, in ChannelInput) (*Channel, error) {
	owner, ownerID, err := s.ownerOf(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	c := &Channel{OwnerKey: owner, OwnerID: ownerID, ID: randomID(channelPrefix), Version: 1}
	if in.Type != nil {
		c.Type = *in.Type
	}
	if err := s.mergeChannel(c, &in); err != nil {
		return nil, err
	}
	if err := s.checkChannelTenant(ctx, c); err != nil {
		return nil, err
	}
	var nothing *snapshot
	c.Changes = nothing.changes(c.snapshot())
	return c, s.InTx(ctx, func(tx *Tx) error {
		if err := tx.DB.Create(c).Error; err != nil {
			return err
		}
		return noteChannel(ctx, tx, owner, AuditEntry{Action: "channel.create", Object: c.ID, Changes: c.Changes})
	})
}

// UpdateChannel changes a channel.
func (s *Store) UpdateChannel(ctx context.Context, scope Scope, tenantID, id string, in ChannelInput) (c *Channel, err error) {
	owner, ownerID, err := s.ownerOf(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.Pgx.Exec(ctx, "select 1 from channels where owner_key = $1 and id = $2 for update", owner, id); err != nil {
			return err
		}
		if c, err = s.channel(tx.DB, owner, ownerID, id); err != nil {
			return err
		}
		if in.Type != nil && *in.Type != c.Type {
			return Invalid("type", "cannot be changed: create another channel")
		}
		before := c.snapshot()
		if err := s.mergeChannel(c, &in); err != nil {
			return err
		}
		if err := s.checkChannelTenant(ctx, c); err != nil {
			return err
		}
		c.Changes = before.changes(c.snapshot())
		c.Version++
		if err := tx.DB.Save(c).Error; err != nil {
			return err
		}
		return noteChannel(ctx, tx, owner, AuditEntry{Action: "channel.update", Object: c.ID, Changes: c.Changes,
			Detail: map[string]any{"name": c.Name}})
	})
	return c, err
}

// DeleteChannel deletes a channel. What was sent to it stays in the log.
func (s *Store) DeleteChannel(ctx context.Context, scope Scope, tenantID, id string) error {
	c, err := s.Channel(ctx, scope, tenantID, id)
	if err != nil {
		return err
	}
	return s.InTx(ctx, func(tx *Tx) error {
		if err := tx.DB.Model(&Channel{}).Where("key = ?", c.Key).Update("deleted_at", time.Now()).Error; err != nil {
			return err
		}
		return noteChannel(ctx, tx, c.OwnerKey, AuditEntry{Action: "channel.delete", Object: c.ID,
			Detail: map[string]any{"name": c.Name, "type": c.Type}})
	})
}

// noteChannel notes a change of an owner's channel in the audit log, and tells cells if the owner is the operators.
func noteChannel(ctx context.Context, tx *Tx, owner int64, entry AuditEntry) error {
	if err := noteOperators(ctx, tx.Pgx, owner); err != nil {
		return err
	}
	entry.Scope = ownerScope(owner)
	return tx.Audit(ctx, entry)
}

// checkChannelTenant reports that the tenant which an operators' channel names does not exist.
func (s *Store) checkChannelTenant(ctx context.Context, c *Channel) error {
	tenant := notify.Tenant(c.Type, c.Config)
	if tenant == "" {
		return nil
	}
	_, err := s.Tenant(ctx, AllTenants(), tenant)
	if IsKind(err, KindNotFound) {
		return Invalid("config.tenant_id", fmt.Sprintf("%q is not a tenant", cut(tenant, 80)))
	}
	return err
}

// mergeChannel writes the input into the channel, seals its secrets and reports what is wrong with the result.
func (s *Store) mergeChannel(c *Channel, in *ChannelInput) error {
	bad := problems{}
	if in.Name != nil {
		c.Name = strings.TrimSpace(*in.Name)
		checkText("name", c.Name, maxNameLength, bad)
	}
	t := notify.Lookup(c.Type)
	config, secrets := Values{}, Values{}
	for k, v := range in.Config {
		switch {
		case t.Secret(k) == nil:
			config[k] = v
		case v != nil && *v != "" && *v == mask(c.Secrets[k]):
			// A masked value that comes back as it was shown changes nothing.
		default:
			secrets[k] = v
		}
	}
	config.unmaskURLs(c.Config, func(key string) string { return key }, bad)
	c.Config, c.Secrets = config.apply(c.Config), secrets.apply(c.Secrets)
	if c.Type == "" {
		bad.add("type", "is required")
	} else {
		for _, fe := range notify.Check(c.OwnerID, c.Type, c.Config, c.Secrets) {
			bad.add(fe.Key, fe.Message)
		}
	}
	if err := bad.err(); err != nil || t == nil {
		return err
	}
	c.Target, c.Recipients = notify.Target(c.Type, c.Config), notify.Recipients(c.Type, c.Config)
	if c.Name == "" {
		c.Name = cut(c.Target, maxNameLength-4)
	}
	c.SealedCreds = nil
	if len(c.Secrets) == 0 {
		return nil
	}
	plain, err := json.Marshal(c.Secrets)
	c.SealedCreds = s.Keys.Seal(plain, c.sealContext())
	return err
}
