// The least app: built by Vite as it comes, with the package as npm installs it.

import { Classifier } from "vit-gpu";

const classifier = await Classifier.create({ device: "cpu" });
const { predictions } = await classifier.classify(new ImageData(64, 64), { topK: 1 });
document.title = `class ${predictions[0].index}`;
