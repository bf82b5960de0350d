"""Published weights of the models: which file has them, and how images are prepared for them.

Lines of: model, enumeration, member, file, size that the shorter side is resized to, crop, interpolation, and `default`
for what `DEFAULT` means.
"""

FILES = """
alexnet AlexNet_Weights IMAGENET1K_V1 alexnet-owt-7be5be79.pth 256 224 bilinear default
vgg11 VGG11_Weights IMAGENET1K_V1 vgg11-8a719046.pth 256 224 bilinear default
vgg11_bn VGG11_BN_Weights IMAGENET1K_V1 vgg11_bn-6002323d.pth 256 224 bilinear default
vgg13 VGG13_Weights IMAGENET1K_V1 vgg13-19584684.pth 256 224 bilinear default
vgg13_bn VGG13_BN_Weights IMAGENET1K_V1 vgg13_bn-abd245e5.pth 256 224 bilinear default
vgg16 VGG16_Weights IMAGENET1K_V1 vgg16-397923af.pth 256 224 bilinear default
vgg16_bn VGG16_BN_Weights IMAGENET1K_V1 vgg16_bn-6c64b313.pth 256 224 bilinear default
vgg19 VGG19_Weights IMAGENET1K_V1 vgg19-dcbb9e9d.pth 256 224 bilinear default
vgg19_bn VGG19_BN_Weights IMAGENET1K_V1 vgg19_bn-c79401a0.pth 256 224 bilinear default
resnet18 ResNet18_Weights IMAGENET1K_V1 resnet18-f37072fd.pth 256 224 bilinear default
resnet34 ResNet34_Weights IMAGENET1K_V1 resnet34-b627a593.pth 256 224 bilinear default
resnet50 ResNet50_Weights IMAGENET1K_V1 resnet50-0676ba61.pth 256 224 bilinear
resnet50 ResNet50_Weights IMAGENET1K_V2 resnet50-11ad3fa6.pth 232 224 bilinear default
resnet101 ResNet101_Weights IMAGENET1K_V1 resnet101-63fe2227.pth 256 224 bilinear
resnet101 ResNet101_Weights IMAGENET1K_V2 resnet101-cd907fc2.pth 232 224 bilinear default
resnet152 ResNet152_Weights IMAGENET1K_V1 resnet152-394f9c45.pth 256 224 bilinear
resnet152 ResNet152_Weights IMAGENET1K_V2 resnet152-f82ba261.pth 232 224 bilinear default
resnext50_32x4d ResNeXt50_32X4D_Weights IMAGENET1K_V1 resnext50_32x4d-7cdf4587.pth 256 224 bilinear
resnext50_32x4d ResNeXt50_32X4D_Weights IMAGENET1K_V2 resnext50_32x4d-1a0047aa.pth 232 224 bilinear default
resnext101_32x8d ResNeXt101_32X8D_Weights IMAGENET1K_V1 resnext101_32x8d-8ba56ff5.pth 256 224 bilinear
resnext101_32x8d ResNeXt101_32X8D_Weights IMAGENET1K_V2 resnext101_32x8d-110c445d.pth 232 224 bilinear default
resnext101_64x4d ResNeXt101_64X4D_Weights IMAGENET1K_V1 resnext101_64x4d-173b62eb.pth 232 224 bilinear default
wide_resnet50_2 Wide_ResNet50_2_Weights IMAGENET1K_V1 wide_resnet50_2-95faca4d.pth 256 224 bilinear
wide_resnet50_2 Wide_ResNet50_2_Weights IMAGENET1K_V2 wide_resnet50_2-9ba9bcbe.pth 232 224 bilinear default
wide_resnet101_2 Wide_ResNet101_2_Weights IMAGENET1K_V1 wide_resnet101_2-32ee1156.pth 256 224 bilinear
wide_resnet101_2 Wide_ResNet101_2_Weights IMAGENET1K_V2 wide_resnet101_2-d733dc28.pth 232 224 bilinear default
squeezenet1_0 SqueezeNet1_0_Weights IMAGENET1K_V1 squeezenet1_0-b66bff10.pth 256 224 bilinear default
squeezenet1_1 SqueezeNet1_1_Weights IMAGENET1K_V1 squeezenet1_1-b8a52dc0.pth 256 224 bilinear default
densenet121 DenseNet121_Weights IMAGENET1K_V1 densenet121-a639ec97.pth 256 224 bilinear default
densenet161 DenseNet161_Weights IMAGENET1K_V1 densenet161-8d451a50.pth 256 224 bilinear default
densenet169 DenseNet169_Weights IMAGENET1K_V1 densenet169-b2777c0a.pth 256 224 bilinear default
densenet201 DenseNet201_Weights IMAGENET1K_V1 densenet201-c1103571.pth 256 224 bilinear default
mobilenet_v2 MobileNet_V2_Weights IMAGENET1K_V1 mobilenet_v2-b0353104.pth 256 224 bilinear
mobilenet_v2 MobileNet_V2_Weights IMAGENET1K_V2 mobilenet_v2-7ebf99e0.pth 232 224 bilinear default
mobilenet_v3_large MobileNet_V3_Large_Weights IMAGENET1K_V1 mobilenet_v3_large-8738ca79.pth 256 224 bilinear
mobilenet_v3_large MobileNet_V3_Large_Weights IMAGENET1K_V2 mobilenet_v3_large-5c1a4163.pth 232 224 bilinear default
mobilenet_v3_small MobileNet_V3_Small_Weights IMAGENET1K_V1 mobilenet_v3_small-047dcff4.pth 256 224 bilinear default
googlenet GoogLeNet_Weights IMAGENET1K_V1 googlenet-1378be20.pth 256 224 bilinear default
shufflenet_v2_x0_5 ShuffleNet_V2_X0_5_Weights IMAGENET1K_V1 shufflenetv2_x0.5-f707e7126e.pth 256 224 bilinear default
shufflenet_v2_x1_0 ShuffleNet_V2_X1_0_Weights IMAGENET1K_V1 shufflenetv2_x1-5666bf0f80.pth 256 224 bilinear default
shufflenet_v2_x1_5 ShuffleNet_V2_X1_5_Weights IMAGENET1K_V1 shufflenetv2_x1_5-3c479a10.pth 232 224 bilinear default
shufflenet_v2_x2_0 ShuffleNet_V2_X2_0_Weights IMAGENET1K_V1 shufflenetv2_x2_0-8be3c8ee.pth 232 224 bilinear default
efficientnet_b0 EfficientNet_B0_Weights IMAGENET1K_V1 efficientnet_b0_rwightman-7f5810bc.pth 256 224 bicubic default
efficientnet_b1 EfficientNet_B1_Weights IMAGENET1K_V1 efficientnet_b1_rwightman-bac287d4.pth 256 240 bicubic
efficientnet_b1 EfficientNet_B1_Weights IMAGENET1K_V2 efficientnet_b1-c27df63c.pth 255 240 bilinear default
efficientnet_b2 EfficientNet_B2_Weights IMAGENET1K_V1 efficientnet_b2_rwightman-c35c1473.pth 288 288 bicubic default
efficientnet_b3 EfficientNet_B3_Weights IMAGENET1K_V1 efficientnet_b3_rwightman-b3899882.pth 320 300 bicubic default
efficientnet_b4 EfficientNet_B4_Weights IMAGENET1K_V1 efficientnet_b4_rwightman-23ab8bcd.pth 384 380 bicubic default
efficientnet_b5 EfficientNet_B5_Weights IMAGENET1K_V1 efficientnet_b5_lukemelas-1a07897c.pth 456 456 bicubic default
efficientnet_b6 EfficientNet_B6_Weights IMAGENET1K_V1 efficientnet_b6_lukemelas-24a108a5.pth 528 528 bicubic default
efficientnet_b7 EfficientNet_B7_Weights IMAGENET1K_V1 efficientnet_b7_lukemelas-c5b4e57e.pth 600 600 bicubic default
efficientnet_v2_s EfficientNet_V2_S_Weights IMAGENET1K_V1 efficientnet_v2_s-dd5fe13b.pth 384 384 bilinear default
efficientnet_v2_m EfficientNet_V2_M_Weights IMAGENET1K_V1 efficientnet_v2_m-dc08266a.pth 480 480 bilinear default
efficientnet_v2_l EfficientNet_V2_L_Weights IMAGENET1K_V1 efficientnet_v2_l-59c71312.pth 480 480 bicubic default
convnext_tiny ConvNeXt_Tiny_Weights IMAGENET1K_V1 convnext_tiny-983f1562.pth 236 224 bilinear default
convnext_small ConvNeXt_Small_Weights IMAGENET1K_V1 convnext_small-0c510722.pth 230 224 bilinear default
convnext_base ConvNeXt_Base_Weights IMAGENET1K_V1 convnext_base-6075fbad.pth 232 224 bilinear default
convnext_large ConvNeXt_Large_Weights IMAGENET1K_V1 convnext_large-ea097f82.pth 232 224 bilinear default
vit_b_16 ViT_B_16_Weights IMAGENET1K_V1 vit_b_16-c867db91.pth 256 224 bilinear default
vit_b_16 ViT_B_16_Weights IMAGENET1K_SWAG_E2E_V1 vit_b_16_swag-9ac1b537.pth 384 384 bicubic
vit_b_16 ViT_B_16_Weights IMAGENET1K_SWAG_LINEAR_V1 vit_b_16_lc_swag-4e70ced5.pth 224 224 bicubic
vit_b_32 ViT_B_32_Weights IMAGENET1K_V1 vit_b_32-d86f8d99.pth 256 224 bilinear default
vit_l_16 ViT_L_16_Weights IMAGENET1K_V1 vit_l_16-852ce7e3.pth 242 224 bilinear default
vit_l_16 ViT_L_16_Weights IMAGENET1K_SWAG_E2E_V1 vit_l_16_swag-4f3808c9.pth 512 512 bicubic
vit_l_16 ViT_L_16_Weights IMAGENET1K_SWAG_LINEAR_V1 vit_l_16_lc_swag-4d563306.pth 224 224 bicubic
vit_l_32 ViT_L_32_Weights IMAGENET1K_V1 vit_l_32-c7638314.pth 256 224 bilinear default
vit_h_14 ViT_H_14_Weights IMAGENET1K_SWAG_E2E_V1 vit_h_14_swag-80465313.pth 518 518 bicubic default
vit_h_14 ViT_H_14_Weights IMAGENET1K_SWAG_LINEAR_V1 vit_h_14_lc_swag-c1eb923e.pth 224 224 bicubic
"""
