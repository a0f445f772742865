package fixups

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// newImage corrects CreateImage and CopyImage. It rejects the name of an existing
// image of the account, and tags the new image and its snapshots (moto returns HTTP
// 500 for tags of snapshots and ignores all tags of a copy). It also implements
// EnableImageDeprecation, which moto does not know.
func newImage() fakeaws.Middleware {
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			switch {
			case c.Is(fakeaws.EC2, "CreateImage", "CopyImage"):
				return makeImage(c, next)
			case c.Is(fakeaws.EC2, "EnableImageDeprecation"):
				if _, err := imagesOf(c, nil, c.Params.Get("ImageId")); err != nil {
					return asRefusal(c, err)
				}
				return c.Answer(http.StatusOK, "<EnableImageDeprecationResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><return>true</return></EnableImageDeprecationResponse>"), nil
			}
			return next(c)
		}
	}
}

func makeImage(c *fakeaws.Call, next fakeaws.Handler) (*http.Response, error) {
	name := c.Params.Get("Name")
	same, err := imagesOf(c, []types.Filter{{Name: aws.String("name"), Values: []string{name}}})
	if err != nil {
		return asRefusal(c, err)
	}
	if len(same) > 0 {
		return refuse("InvalidAMIName.Duplicate", "AMI name "+name+" is already in use by AMI "+aws.ToString(same[0].ImageId)).answer(c), nil
	}
	tags := tagSpecifications(c.Params)
	c.SetParams(copyParams(c.Params, "TagSpecification."))
	res, err := next(c)
	if !succeeded(res, err) {
		return res, err
	}
	body, err := fakeaws.Body(res)
	if err != nil {
		return nil, err
	}
	return res, tagImage(c, element(string(body), "imageId"), tags)
}

func tagImage(c *fakeaws.Call, id string, tags map[types.ResourceType][]types.Tag) error {
	images, err := imagesOf(c, nil, id)
	if err != nil {
		return err
	}
	for _, image := range images {
		var snapshots []string
		for _, d := range image.BlockDeviceMappings {
			if d.Ebs != nil {
				snapshots = append(snapshots, aws.ToString(d.Ebs.SnapshotId))
			}
		}
		err = errors.Join(tag(c, []string{id}, tags[types.ResourceTypeImage]), tag(c, snapshots, tags[types.ResourceTypeSnapshot]))
	}
	return err
}

func tag(c *fakeaws.Call, ids []string, tags []types.Tag) error {
	if len(ids) == 0 || len(tags) == 0 {
		return nil
	}
	_, err := ec2Of(c).CreateTags(c.Context(), &ec2.CreateTagsInput{Resources: ids, Tags: tags})
	return err
}

// imagesOf returns the account's images with the ids or matching the filters.
func imagesOf(c *fakeaws.Call, filters []types.Filter, ids ...string) ([]types.Image, error) {
	out, err := ec2Of(c).DescribeImages(c.Context(), &ec2.DescribeImagesInput{Owners: []string{"self"}, ImageIds: ids, Filters: filters})
	if err != nil {
		return nil, err
	}
	return out.Images, nil
}

// tagSpecifications returns the tags of a call by resource type.
func tagSpecifications(p url.Values) map[types.ResourceType][]types.Tag {
	tags := map[types.ResourceType][]types.Tag{}
	for i := 1; p.Has(indexed("TagSpecification", i) + ".ResourceType"); i++ {
		prefix := indexed("TagSpecification", i)
		kind := types.ResourceType(p.Get(prefix + ".ResourceType"))
		for n := 1; p.Has(indexed(prefix+".Tag", n) + ".Key"); n++ {
			key := indexed(prefix+".Tag", n)
			tags[kind] = append(tags[kind], types.Tag{Key: aws.String(p.Get(key + ".Key")), Value: aws.String(p.Get(key + ".Value"))})
		}
	}
	return tags
}
