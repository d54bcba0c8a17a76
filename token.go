package conclave

import "time"

// Token is what is kept of a token: whose it is and who made it, not the token.
type Token struct {
	ID          string       `json:"id"` // the JWT's own (jti)
	Tenant      TenantID     `json:"tenant"`
	Human       string       `json:"human"` // on whose behalf its bearer acts
	Agent       AgentName    `json:"agent,omitempty"`
	Permissions []Permission `json:"permissions"`
	MintedBy    string       `json:"minted_by"`
	Minted      time.Time    `json:"minted"`
	Expires     time.Time    `json:"expires"`
	Revoked     *time.Time   `json:"revoked,omitempty"` // when it was taken back
	RevokedBy   string       `json:"revoked_by,omitempty"`
}
