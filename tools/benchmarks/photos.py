"""Photographs to load."""

from PIL import Image

from mmssl_dynamic.demo.photos import load_photos


def write_photos(folder):
    """Scikit-image's photographs as JPEG files with a short side of 400 pixels, about the size of ImageNet's."""
    for name, pixels in load_photos().items():
        photo = Image.fromarray(pixels).convert("RGB")
        scale = 400 / min(photo.size)
        photo.resize((round(photo.width * scale), round(photo.height * scale))).save(f"{folder}/{name}.jpg", quality=90)
