"""Words of reports, explained for those who have not read the papers."""

ROUTING_WORDS = {
    "sub-network, path": "A part of the super-network that works alone: in every stage the shared channels and one "
    "group. Each was trained on the images of one cluster.",
    "full network": "All channels of all groups, trained on all images.",
    "kNN accuracy": "Share of images whose class their nearest neighbours among the training images tell, by the "
    "features of a frozen network. Nothing is trained for it.",
    "chosen with": "The accuracy on the images that the choice is made with: the training images, each left out in "
    "turn, or a validation set.",
    "gain": "Percentage points above the full network, on the test images.",
    "regret": "Percentage points on the test images by which the chosen sub-network lies below the best of those "
    "ranked: what a choice that knew the test images would have had more.",
    "±": "Standard error of an accuracy, from the number of images alone. Two accuracies that differ by less than "
    "twice as much may well be the same.",
    "stage runs": "How often a stage of a network ran per image, the measure of what the routing cost. One by one, "
    "every network runs all its stages; where sub-networks begin alike, a stage that they share runs once.",
    "phase": "A part of SDR's training: first the full network alone, then with every phase one more stage in which "
    "sub-networks differ.",
    "training steps": "Steps in which a sub-network alone was drawn. The weights that it shares train in others' "
    "steps, too.",
}
