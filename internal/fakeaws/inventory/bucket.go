package inventory

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func buckets(cfg aws.Config) lister {
	c := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	return func(ctx context.Context) (items []Item, err error) {
		out, err := c.ListBuckets(ctx, &s3.ListBucketsInput{})
		if err != nil {
			return nil, err
		}
		for _, b := range out.Buckets {
			items = append(items, Item{Kind: "bucket", ID: *b.Name, Name: *b.Name})
			versions, err := objects(ctx, c, *b.Name)
			if err != nil {
				return nil, err
			}
			items = append(items, versions...)
		}
		return items, nil
	}
}

func objects(ctx context.Context, c *s3.Client, bucket string) (items []Item, err error) {
	pages := s3.NewListObjectVersionsPaginator(c, &s3.ListObjectVersionsInput{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, v := range page.Versions {
			items = append(items, Item{Kind: "object version", ID: aws.ToString(v.VersionId), Name: bucket + "/" + *v.Key,
				Past: !aws.ToBool(v.IsLatest)})
		}
		for _, m := range page.DeleteMarkers {
			items = append(items, Item{Kind: "delete marker", ID: aws.ToString(m.VersionId), Name: bucket + "/" + *m.Key, Past: true})
		}
	}
	return items, nil
}
