package instance

import (
	"strings"

	"github.com/xeroops/xeroops/internal/envfile"
)

// The block of /etc/environment that is ours. pam_env and systemd take both
// lines for comments.
const (
	blockBegin = "# BEGIN xeroops: written at every boot by infrastructure-ready.service\n"
	blockEnd   = "# END xeroops\n"
)

// MergeEnvironment returns the text of /etc/environment with our block put at
// its end; what isn't ours stays, and ours wins, being last.
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

// cutBlock takes our block out of a text.
func cutBlock(text string) (rest, block string, found bool) {
	before, after, found := strings.Cut(text, blockBegin)
	if !found {
		return text, "", false
	}
	block, after, _ = strings.Cut(after, blockEnd)
	return before + after, block, true
}
