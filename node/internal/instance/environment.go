package instance

import (
	"strings"

	"github.com/xeroops/xeroops/internal/envfile"
)

// The lines around XeroOps' block in /etc/environment, which are comments to pam_env and
// systemd.
const (
	blockBegin = "# BEGIN xeroops: written at every boot by infrastructure-ready.service\n"
	blockEnd   = "# END xeroops\n"
)

// MergeEnvironment returns the text of /etc/environment with a block of variables at its
// end, which override earlier ones. It replaces a former block and keeps other lines.
func MergeEnvironment(text string, vars map[string]string) (string, error) {
	block, err := envfile.Format(vars)
	if err != nil {
		return "", err
	}
	rest, _, _ := cutBlock(text)
	if rest != "" && !strings.HasSuffix(rest, "\n") {
		rest += "\n"
	}
	return rest + blockBegin + block + blockEnd, nil
}

// cutBlock separates the block from the rest of a text.
func cutBlock(text string) (rest, block string, found bool) {
	before, after, found := strings.Cut(text, blockBegin)
	if !found {
		return text, "", false
	}
	block, after, _ = strings.Cut(after, blockEnd)
	return before + after, block, true
}
