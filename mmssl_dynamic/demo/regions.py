"""What the demo data are cut from: the photographs, their licences, and the regions of every class.

Boxes are (left, top, right, bottom) in pixels of the photograph, right and bottom exclusive. The test boxes of a
photograph keep clear of all its training boxes, of every task: the gap between a test box and a training box is at
least as wide as the largest window of either class. ``tests/datasets/test_demo_photos.py`` holds this table to it.
"""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Photo:
    """A photograph in scikit-image's package folder.

    Attributes:
        file: File name.
        size: (width, height) in pixels.
        licence: What scikit-image's documentation of the image states.
    """

    file: str
    size: tuple[int, int]
    licence: str

    @property
    def name(self) -> str:
        """File name without its ending."""
        return self.file.rsplit(".", 1)[0]


@dataclass(frozen=True)
class DemoClass:
    """One class of a task, from one photograph.

    Attributes:
        name: Folder name.
        photo: Name of the photograph.
        windows: Smallest and largest side of a square window, in pixels of the photograph.
        train: Boxes that training windows lie in, completely.
        test: Boxes that test windows lie in, completely.
    """

    name: str
    photo: str
    windows: tuple[int, int]
    train: tuple[Box, ...]
    test: tuple[Box, ...]


@dataclass(frozen=True)
class DemoTask:
    """A downstream task.

    Attributes:
        name: Folder name below ``tasks/``.
        grey: Whether its images are turned grey, so that not even hues within an image tell photographs apart.
        turn: Whether patches are turned and flipped at random; for things that have no upright position.
        classes: Sorted by name.
    """

    name: str
    grey: bool
    turn: bool
    classes: tuple[DemoClass, ...]


PHOTOS = (
    Photo("astronaut.png", (512, 512), "NASA Great Images, public domain"),
    Photo("brick.png", (512, 512), "CC0 (CC0Textures Bricks25)"),
    Photo("camera.png", (512, 512), "CC0 by the photographer (Lav Varshney)"),
    Photo("cell.png", (550, 660), "CC0 (Mueller et al., Optics Express 26(8), 2018)"),
    Photo("chelsea.png", (451, 300), "CC0 by the photographer (Stefan van der Walt)"),
    Photo("clock_motion.png", (400, 300), "public domain by the photographer (Stefan van der Walt)"),
    Photo("coffee.png", (600, 400), "CC0 by the photographer (Rachel Michetti)"),
    Photo("coins.png", (384, 303), "no known copyright restrictions (Brooklyn Museum Collection)"),
    Photo("grass.png", (512, 512), "CC0 (DeviantArt, linolafett, Grass-01)"),
    Photo("gravel.png", (512, 512), "CC0 (CC0Textures Gravel04)"),
    Photo("hubble_deep_field.jpg", (1000, 872), "NASA/HubbleSite, may be freely used in the public domain"),
    Photo("ihc.png", (512, 512), "no known copyright restrictions (CMMI)"),
    Photo("microaneurysms.png", (102, 102), "CC0 by the owner (Andreas Maier, HRF database)"),
    Photo("moon.png", (512, 512), "not stated by scikit-image (surface of the Moon)"),
    Photo("motorcycle_left.png", (741, 500), "Middlebury Stereo 2014 (Nesic et al.); licence not stated"),
    Photo("page.png", (384, 191), "not stated by scikit-image (scanned page)"),
    Photo("retina.jpg", (1411, 1411), "CC0 (Wikimedia Commons, Mikael Haeggstroem)"),
    Photo("rocket.jpg", (640, 427), "public domain (SpaceX Photos)"),
    Photo("text.png", (448, 172), "public domain (Wikipedia, Corner.png)"),
)

TASKS = (
    DemoTask(
        name="everyday",
        grey=False,
        turn=False,
        classes=(
            DemoClass("cat_eye", "chelsea", (48, 60), ((120, 75, 215, 160),), ((275, 95, 360, 175),)),
            DemoClass("coins", "coins", (40, 56), ((0, 10, 178, 300),), ((234, 10, 384, 300),)),
            DemoClass("crockery", "coffee", (56, 80), ((90, 30, 240, 370),), ((320, 30, 480, 360),)),
            DemoClass("handwriting", "text", (40, 60), ((0, 0, 195, 172),), ((255, 0, 448, 172),)),
            DemoClass("lattice_mast", "rocket", (48, 72), ((0, 60, 90, 340),), ((560, 0, 640, 427),)),
            DemoClass("print", "page", (32, 48), ((0, 0, 165, 135),), ((213, 0, 384, 135),)),
            DemoClass("shelf", "motorcycle_left", (56, 80), ((345, 0, 510, 150),), ((590, 20, 712, 260),)),
            DemoClass(
                "space_suit", "astronaut", (40, 56), ((55, 225, 190, 340), (240, 235, 350, 340)), ((40, 396, 235, 512),)
            ),
            DemoClass("wheel", "motorcycle_left", (72, 110), ((120, 245, 290, 400),), ((520, 305, 685, 450),)),
        ),
    ),
    DemoTask(
        name="medical",
        grey=True,
        turn=True,
        classes=(
            DemoClass("cell", "cell", (32, 48), ((310, 300, 400, 450),), ((450, 300, 550, 450),)),
            DemoClass(
                "fine_vessels",
                "retina",
                (100, 140),
                ((420, 460, 860, 605), (850, 480, 1240, 650)),
                ((430, 810, 860, 960), (940, 880, 1240, 1080)),
            ),
            DemoClass("gland", "ihc", (32, 48), ((0, 0, 250, 200), (330, 0, 440, 180)), ((258, 330, 378, 505),)),
            DemoClass(
                "large_vessels",
                "retina",
                (100, 140),
                ((540, 90, 1130, 250), (400, 240, 650, 400), (760, 340, 1020, 500)),
                ((450, 1130, 1040, 1310),),
            ),
            DemoClass("saline", "cell", (32, 48), ((0, 0, 300, 660),), ((450, 0, 550, 270), (450, 490, 550, 660))),
            DemoClass("stroma", "ihc", (32, 48), ((458, 0, 512, 282),), ((162, 330, 250, 512), (395, 330, 512, 425))),
        ),
    ),
    DemoTask(
        name="textures",
        grey=True,
        turn=True,
        classes=(
            DemoClass("brick", "brick", (32, 64), ((0, 0, 288, 512),), ((352, 0, 512, 512),)),
            DemoClass("fur", "chelsea", (32, 60), ((60, 0, 215, 75),), ((275, 0, 345, 75),)),
            DemoClass("grass", "grass", (32, 64), ((0, 0, 288, 512),), ((352, 0, 512, 512),)),
            DemoClass("gravel", "gravel", (32, 64), ((0, 0, 288, 512),), ((352, 0, 512, 512),)),
            DemoClass("lawn", "camera", (32, 64), ((410, 260, 512, 512),), ((165, 370, 235, 512),)),
            DemoClass("moon", "moon", (48, 96), ((0, 130, 170, 512),), ((266, 200, 512, 512),)),
            DemoClass("stars", "hubble_deep_field", (48, 96), ((0, 0, 560, 872),), ((656, 0, 1000, 872),)),
            DemoClass("wood", "coffee", (32, 64), ((0, 110, 75, 400),), ((490, 150, 600, 400),)),
        ),
    ),
)
