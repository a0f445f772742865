package procfs

import (
	"regexp"
	"testing"
)

func TestMemoryIsRead(t *testing.T) {
	if m, err := ReadMemory(); err != nil || m.Total < 64<<20 || m.Available == 0 || m.Available > m.Total {
		t.Errorf("ReadMemory() = %+v, %v", m, err)
	}
}

func TestBootIDIsAUUID(t *testing.T) {
	if id, err := ReadBootID(); err != nil || !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(id) {
		t.Errorf("ReadBootID() = %q, %v", id, err)
	}
}
