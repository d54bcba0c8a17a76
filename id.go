package conclave

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"time"
)

// NewID makes an identifier: a prefix that names the noun, then a part that sorts
// by time of making, then a random part: "run-0k3v8q5m1s-7w2c9x4d".
func NewID(prefix string) string {
	var t [8]byte
	binary.BigEndian.PutUint64(t[:], uint64(time.Now().UnixMilli()))
	var r [5]byte
	rand.Read(r[:]) // never fails: it ends the program instead
	enc := base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)
	return strings.Join([]string{prefix, enc.EncodeToString(t[2:]), enc.EncodeToString(r[:])}, "-")
}
