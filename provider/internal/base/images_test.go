package base

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
)

func ec2Client(url string) *awsclient.EC2 {
	return awsclient.NewEC2(ec2.New(ec2.Options{BaseEndpoint: &url, Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}))
}

func self(role cluster.Role, architecture string) ImageQuery {
	return ImageQuery{Role: role, Architecture: architecture, Owners: []string{"self"}}
}

func TestNewestImageFindsTheImageOfTheRole(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	theirs := moto.RoleImage(cluster.RoleApp, "9.9.9")
	theirs.OwnerID = "999999999999"
	server := mototest.Start(t, moto.Options{Images: append(moto.DefaultImages(), theirs)})

	d := NewDescriber(ec2Client(server.URL), nil, "us-east-1")
	for _, role := range cluster.Roles() {
		image, ok, err := d.NewestImage(ctx, self(role, "x86_64"))
		if err != nil || !ok || *image.ImageId != moto.RoleImageID(role, "1.0.0") {
			t.Errorf("%s: %v, found %v (%v)", role, image.ImageId, ok, err)
		}
	}
	if _, ok, err := d.NewestImage(ctx, self(cluster.RoleApp, "arm64")); ok || err != nil {
		t.Errorf("an image of another architecture was found (%v)", err)
	}
	owners := ImageQuery{Role: cluster.RoleApp, Architecture: "x86_64", Owners: []string{theirs.OwnerID}}
	if image, ok, err := d.NewestImage(ctx, owners); !ok || err != nil || *image.ImageId != theirs.ID {
		t.Errorf("another owner's image was not found (%v)", err)
	}
}

// moto neither pages DescribeImages nor sets dates of seeded images, so this test
// uses responses in EC2's format.
func TestNewestImageReadsAllPagesInOneCallForAllRoles(t *testing.T) {
	var mu sync.Mutex
	var calls []url.Values
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		mu.Lock()
		calls = append(calls, r.Form)
		mu.Unlock()
		if r.Form.Get("NextToken") == "" {
			_, _ = fmt.Fprint(w, imagesAnswer("page-2", "ami-old/app/2026-01-02T00:00:00.000Z", "ami-db/db/2026-01-01T00:00:00.000Z"))
			return
		}
		_, _ = fmt.Fprint(w, imagesAnswer("", "ami-new/app/2026-03-01T00:00:00.000Z", "ami-older/app/2025-12-31T00:00:00.000Z"))
	}))
	defer server.Close()

	d := NewDescriber(ec2Client(server.URL), nil, "us-east-1")
	var wg sync.WaitGroup
	for role, want := range map[cluster.Role]string{cluster.RoleApp: "ami-new", cluster.RoleDB: "ami-db"} {
		wg.Go(func() {
			image, ok, err := d.NewestImage(context.Background(), self(role, "x86_64"))
			if err != nil || !ok || *image.ImageId != want {
				t.Errorf("%s: %v (%v), want %s", role, image.ImageId, err, want)
			}
		})
	}
	wg.Wait()
	if len(calls) != 2 {
		t.Errorf("%d calls, want one of two pages: %v", len(calls), calls)
	}
}

func imagesAnswer(next string, images ...string) string {
	var items strings.Builder
	for _, image := range images {
		part := strings.SplitN(image, "/", 3)
		fmt.Fprintf(&items, `<item><imageId>%s</imageId><creationDate>%s</creationDate><tagSet><item><key>%s</key><value>%s</value></item></tagSet></item>`,
			part[0], part[2], TagRole, part[1])
	}
	return `<DescribeImagesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><imagesSet>` + items.String() +
		`</imagesSet><nextToken>` + next + `</nextToken></DescribeImagesResponse>`
}
