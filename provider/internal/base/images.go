package base

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/awsbatch"
)

// TagVersion is the tag with the version of an image.
const TagVersion = "xeroops:version"

// ImageQuery selects images: by the tag of their role or, if NamePattern is set, by
// their name. Accounts with which an image is shared do not see its tags.
type ImageQuery struct {
	Role         cluster.Role
	Architecture string
	Owners       []string // account ids, "self" or aliases
	NamePattern  string   // with * and ? as wildcards
}

// imageSep separates the parts of a query's key. No role, architecture or owner
// contains it.
const imageSep = "/"

// maxImagesPage is the maximum page size of DescribeImages.
const maxImagesPage = 1000

func (q ImageQuery) source() string {
	owners := slices.Sorted(slices.Values(q.Owners))
	return strings.Join(append([]string{q.Architecture}, owners...), imageSep)
}

func (q ImageQuery) key() string { return string(q.Role) + imageSep + q.source() }

// NewestImage returns the newest available image that matches the query, and
// whether there is one. Concurrent queries for several roles share a call.
func (d *Describer) NewestImage(ctx context.Context, q ImageQuery) (types.Image, bool, error) {
	if q.NamePattern != "" {
		return newestByName(ctx, d.client, q)
	}
	return d.images.Get(ctx, q.key())
}

// newestByName returns the newest available image whose name matches the query's
// pattern and which has no tag of another role.
func newestByName(ctx context.Context, client *awsclient.EC2, q ImageQuery) (newest types.Image, found bool, err error) {
	pages := ec2.NewDescribeImagesPaginator(client, &ec2.DescribeImagesInput{Owners: q.Owners, MaxResults: aws.Int32(maxImagesPage),
		Filters: []types.Filter{Filter("name", q.NamePattern), Filter("architecture", q.Architecture), Filter("state", string(types.ImageStateAvailable))}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return types.Image{}, false, fmt.Errorf("describe the images named %s: %w", q.NamePattern, err)
		}
		for _, image := range page.Images {
			role, tagged := FlattenEC2Tags(image.Tags)[TagRole]
			if (!tagged || role == string(q.Role)) && (!found || newer(image, newest)) {
				newest, found = image, true
			}
		}
	}
	return newest, found, nil
}

func newImageBatch(client *awsclient.EC2) *awsbatch.Batch[types.Image] {
	return awsbatch.New(func(ctx context.Context, keys []string) (map[string]types.Image, error) {
		roles := map[string][]string{} // by source
		for _, key := range keys {
			role, source, _ := strings.Cut(key, imageSep)
			if !slices.Contains(roles[source], role) {
				roles[source] = append(roles[source], role)
			}
		}
		newest := map[string]types.Image{}
		for source, roles := range roles {
			if err := addNewestImages(ctx, client, newest, source, roles); err != nil {
				return nil, fmt.Errorf("describe the images of %s: %w", strings.Join(roles, ", "), err)
			}
		}
		return newest, nil
	})
}

// addNewestImages adds the newest image of each role from one source to newest, by
// the key of its query.
func addNewestImages(ctx context.Context, client *awsclient.EC2, newest map[string]types.Image, source string, roles []string) error {
	architecture, owners, _ := strings.Cut(source, imageSep)
	pages := ec2.NewDescribeImagesPaginator(client, &ec2.DescribeImagesInput{
		Owners:     strings.Split(owners, imageSep),
		MaxResults: aws.Int32(maxImagesPage), // without it, EC2 does not return pages
		Filters: []types.Filter{
			Filter("tag:"+TagRole, roles...),
			Filter("architecture", architecture),
			Filter("state", string(types.ImageStateAvailable)),
		},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, image := range page.Images {
			key := FlattenEC2Tags(image.Tags)[TagRole] + imageSep + source
			if have, ok := newest[key]; !ok || newer(image, have) {
				newest[key] = image
			}
		}
	}
	return nil
}

// newer compares by creation date, which AWS formats so that it sorts as text. For
// equal dates the id decides, so that plans are stable.
func newer(a, b types.Image) bool {
	if x, y := aws.ToString(a.CreationDate), aws.ToString(b.CreationDate); x != y {
		return x > y
	}
	return aws.ToString(a.ImageId) > aws.ToString(b.ImageId)
}
